//! External key management, version 2 of upstream's protocol.
//!
//! The plug-in holds the key; it never sees an object. It encrypts a seed that is made here, once for
//! as long as its key stays the same; objects are sealed with keys derived from the seed. The seed as
//! the plug-in encrypted it stands before each object, and is decrypted once for all objects that
//! have it. The plug-in is asked for its status every minute, every ten seconds while it fails; a
//! new key ID makes a new seed.
//!
//! A thread of its own speaks with the plug-in, so the store's threads, and reads on the reactor, wait
//! for it only when a seed is met for the first time.

mod grpc;
mod wire;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use consort_store::Key;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use self::wire::{Encrypted, Envelope, HKDF_SEED, Status};
use crate::extended::{Extended, SEED};
use crate::provider::{NO_RANDOM, Provider, random};

/// Between two looks at a plug-in that is well.
const WELL: Duration = Duration::from_secs(60);

/// And at one that is not.
const UNWELL: Duration = Duration::from_secs(10);

/// After so long without a good status nothing is sealed any more: the key may have been withdrawn.
const TRUST: Duration = Duration::from_secs(3 * 3600);

/// Decrypted seeds remembered.
const SEEDS: usize = 100;

/// The longest key ID, and the longest encrypted seed, upstream takes.
const MAX_KEY_ID: usize = 1024;
const MAX_SEED: usize = 1024;

/// One plug-in.
pub(crate) struct Kms {
    name: String,
    prefix: String,
    shared: Arc<Shared>,
    orders: mpsc::Sender<Order>,
    timeout: Duration,
}

struct Shared {
    socket: String,
    timeout: Duration,
    /// What seals now, and when the plug-in last said that it is well.
    current: Mutex<Option<Current>>,
    failure: Mutex<Option<String>>,
    /// Seeds by the digest of their encrypted form.
    seeds: Mutex<VecDeque<([u8; 32], Arc<Extended>)>>,
}

#[derive(Clone)]
struct Current {
    encrypted: Arc<Encrypted>,
    key: Arc<Extended>,
    checked: Instant,
}

enum Order {
    Decrypt(Encrypted, mpsc::SyncSender<Result<Vec<u8>, String>>),
}

impl Kms {
    /// Starts to speak with a plug-in. `socket` is a path, or `@` and the name of an abstract socket.
    pub(crate) fn new(name: &str, socket: &str, timeout: Duration) -> Self {
        let shared = Arc::new(Shared {
            socket: socket.to_owned(),
            timeout,
            current: Mutex::default(),
            failure: Mutex::new(Some("it was not asked yet".to_owned())),
            seeds: Mutex::default(),
        });
        let (orders, received) = mpsc::channel();
        let (asked, ready) = mpsc::sync_channel(1);
        let worker = Arc::clone(&shared);
        // It ends when the provider is dropped, which closes the channel.
        let spawned = std::thread::Builder::new()
            .name("kms".to_owned())
            .spawn(move || worker.work(&received, &asked));
        match spawned {
            // The first answer is waited for: a server that starts with its plug-in there works at once.
            Ok(_) => drop(ready.recv_timeout(timeout)),
            Err(error) => *shared.failure.lock() = Some(format!("starting a thread: {error}")),
        }
        Self {
            prefix: format!("k8s:enc:kms:v2:{name}:"),
            name: name.to_owned(),
            shared,
            orders,
            timeout,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The key of a seed that the plug-in encrypted.
    fn seed(&self, encrypted: Encrypted) -> Result<Arc<Extended>, String> {
        let digest = digest(&encrypted);
        if let Some(key) = self.shared.known(&digest) {
            return Ok(key);
        }
        // One that fails is not waited for again and again: whoever asks may hold others up.
        if let Some(why) = self.shared.failure.lock().clone() {
            return Err(why);
        }
        let (reply, answer) = mpsc::sync_channel(1);
        self.orders
            .send(Order::Decrypt(encrypted, reply))
            .map_err(|_| "the plug-in's thread has ended".to_owned())?;
        let seed = answer
            .recv_timeout(self.timeout * 2)
            .map_err(|_| format!("no answer within {:?}", self.timeout))??;
        let seed: [u8; SEED] = seed
            .try_into()
            .map_err(|_| "the plug-in decrypted something else than a seed".to_owned())?;
        Ok(self.shared.remember(digest, Extended::new(&seed)))
    }
}

/// Seeds are the same only if everything that decrypts them is.
fn digest(encrypted: &Encrypted) -> [u8; 32] {
    let mut hasher = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    part(&encrypted.ciphertext);
    part(encrypted.key_id.as_bytes());
    for (key, value) in &encrypted.annotations {
        part(key.as_bytes());
        part(value);
    }
    hasher.finalize().into()
}

impl Shared {
    fn known(&self, digest: &[u8; 32]) -> Option<Arc<Extended>> {
        let seeds = self.seeds.lock();
        let found = seeds.iter().find(|(have, _)| have == digest);
        found.map(|(_, key)| Arc::clone(key))
    }

    fn remember(&self, digest: [u8; 32], key: Extended) -> Arc<Extended> {
        let mut seeds = self.seeds.lock();
        if let Some((_, known)) = seeds.iter().find(|(have, _)| *have == digest) {
            return Arc::clone(known);
        }
        let key = Arc::new(key);
        seeds.truncate(SEEDS - 1);
        seeds.push_front((digest, Arc::clone(&key)));
        key
    }

    fn work(&self, orders: &mpsc::Receiver<Order>, asked: &mpsc::SyncSender<()>) {
        let mut due = Instant::now();
        loop {
            if Instant::now() >= due {
                let checked = alone(self.check());
                due = Instant::now() + if checked.is_ok() { WELL } else { UNWELL };
                if let Err(why) = &checked {
                    tracing::warn!(socket = self.socket, why, "a KMS plug-in is not well");
                }
                *self.failure.lock() = checked.err();
                let _ = asked.try_send(());
            }
            match orders.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(Order::Decrypt(encrypted, reply)) => {
                    let plain = alone(self.decrypt(&encrypted));
                    let _ = reply.try_send(plain);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    async fn call(&self, method: &str, message: &[u8]) -> Result<bytes::Bytes, String> {
        grpc::call(&self.socket, method, message, self.timeout).await
    }

    /// Asks for the plug-in's status, and makes a new seed if its key has changed.
    async fn check(&self) -> Result<(), String> {
        let answer = self.call("Status", &[]).await?;
        let status = Status::decode(&answer).ok_or("its status cannot be read")?;
        if !matches!(status.version.as_str(), "v2" | "v2beta1") {
            return Err(format!("it speaks version {:?}, not v2", status.version));
        }
        if status.healthz != "ok" {
            return Err(format!("it says of itself: {}", status.healthz));
        }
        check_key_id(&status.key_id)?;
        {
            let mut current = self.current.lock();
            if let Some(current) = &mut *current
                && current.encrypted.key_id == status.key_id
            {
                current.checked = Instant::now();
                return Ok(());
            }
        }
        let seed: [u8; SEED] = random().ok_or(NO_RANDOM)?;
        let uid = uuid::Uuid::new_v4().to_string();
        let answer = self
            .call("Encrypt", &wire::encrypt_request(&seed, &uid))
            .await?;
        let encrypted = Encrypted::decode(&answer).ok_or("what it encrypted cannot be read")?;
        check_key_id(&encrypted.key_id)?;
        if encrypted.ciphertext.is_empty() || encrypted.ciphertext.len() > MAX_SEED {
            return Err(format!(
                "the ciphertext of a seed has {} bytes, expected 1 to {MAX_SEED}",
                encrypted.ciphertext.len()
            ));
        }
        let key = self.remember(digest(&encrypted), Extended::new(&seed));
        tracing::info!(
            key_id = encrypted.key_id,
            "a KMS plug-in's key is used from now on"
        );
        *self.current.lock() = Some(Current {
            encrypted: Arc::new(encrypted),
            key,
            checked: Instant::now(),
        });
        Ok(())
    }

    async fn decrypt(&self, encrypted: &Encrypted) -> Result<Vec<u8>, String> {
        let uid = uuid::Uuid::new_v4().to_string();
        let answer = self
            .call("Decrypt", &wire::decrypt_request(encrypted, &uid))
            .await?;
        wire::decrypted(&answer).ok_or_else(|| "what it decrypted cannot be read".to_owned())
    }
}

/// Runs a conversation to its end, with all that it has started: no connection outlives it.
fn alone<T>(conversation: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("starting a runtime: {error}"))?
        .block_on(conversation)
}

fn check_key_id(key_id: &str) -> Result<(), String> {
    if key_id.is_empty() || key_id.len() > MAX_KEY_ID {
        return Err(format!(
            "its key ID has {} bytes, expected 1 to {MAX_KEY_ID}",
            key_id.len()
        ));
    }
    Ok(())
}

impl Provider for Kms {
    fn prefix(&self) -> &str {
        &self.prefix
    }

    fn seal(&self, key: &Key, plain: &[u8]) -> Result<Vec<u8>, String> {
        let current = self.shared.current.lock().clone();
        let Some(current) = current else {
            let why = self.shared.failure.lock().clone();
            return Err(format!(
                "KMS plug-in {}: {}",
                self.name,
                why.unwrap_or_else(|| "it has no key yet".to_owned())
            ));
        };
        if current.checked.elapsed() > TRUST {
            return Err(format!(
                "KMS plug-in {}: it has not been well for hours",
                self.name
            ));
        }
        let data = current.key.seal(key.as_str().as_bytes(), plain)?;
        let encrypted = &current.encrypted;
        Ok(Envelope {
            data: &data,
            key_id: &encrypted.key_id,
            seed: &encrypted.ciphertext,
            annotations: encrypted
                .annotations
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_slice()))
                .collect(),
            source: HKDF_SEED,
        }
        .encode())
    }

    fn open(&self, key: &Key, sealed: &[u8]) -> Result<Vec<u8>, String> {
        let envelope = Envelope::decode(sealed).ok_or("it is no envelope")?;
        if envelope.source != HKDF_SEED {
            return Err("its key was not derived from a seed".to_owned());
        }
        let encrypted = Encrypted {
            ciphertext: envelope.seed.to_vec(),
            key_id: envelope.key_id.to_owned(),
            annotations: envelope
                .annotations
                .iter()
                .map(|(key, value)| ((*key).to_owned(), value.to_vec()))
                .collect(),
        };
        let seed = self.seed(encrypted)?;
        seed.open(key.as_str().as_bytes(), envelope.data)
    }

    fn stale(&self, sealed: &[u8]) -> bool {
        let current = self.shared.current.lock();
        match (&*current, Envelope::decode(sealed)) {
            (Some(current), Some(envelope)) => current.encrypted.key_id != envelope.key_id,
            _ => false,
        }
    }

    fn health(&self) -> Result<(), String> {
        match self.shared.failure.lock().clone() {
            None => Ok(()),
            Some(why) => Err(why),
        }
    }

    fn external(&self) -> Option<&str> {
        Some(&self.name)
    }
}
