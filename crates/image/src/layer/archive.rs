//! The archive's bytes: decompressed, bounded and handed on in chunks.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};

use bytes::{Buf, Bytes};

/// How a stream is compressed, told by its first bytes as media types are not always right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    pub(crate) fn of(start: &[u8]) -> io::Result<Self> {
        let unsupported = |name| {
            Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("{name} compression is not supported; gzip, zstd and none are"),
            ))
        };
        match start {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            // The second is a skippable frame, with which seekable zstd streams may begin.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            [b'B', b'Z', b'h', ..] => unsupported("bzip2"),
            [0xfd, b'7', b'z', b'X', b'Z', ..] => unsupported("xz"),
            _ => Ok(Self::None),
        }
    }
}

/// Decompresses `reader` according to its first bytes.
pub(crate) fn decoder<R: Read + 'static>(reader: R) -> io::Result<(Compression, Box<dyn Read>)> {
    let mut reader = BufReader::with_capacity(128 * 1024, reader);
    let compression = Compression::of(reader.fill_buf()?)?;
    let decoder: Box<dyn Read> = match compression {
        Compression::None => Box::new(reader),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
        // The decoder refuses windows above 128 MiB by itself.
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(reader)?),
    };
    Ok((compression, decoder))
}

/// Size of the pieces that travel between the threads.
const CHUNK: usize = 256 * 1024;

/// The reason the producing side ended before the archive did.
pub(super) enum Broken {
    Read(io::Error),
    TooLarge,
    Cancelled,
}

/// Reads to the end, sending every chunk to both sides. Ends early when a side has gone.
pub(super) fn produce(
    mut reader: impl Read,
    limit: u64,
    cancelled: &AtomicBool,
    to_hash: &SyncSender<Bytes>,
    to_tree: &SyncSender<Bytes>,
) -> Result<(), Broken> {
    let mut total = 0;
    loop {
        let mut chunk = vec![0; CHUNK];
        let mut filled = 0;
        while filled < CHUNK {
            match reader.read(&mut chunk[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Broken::Read(error)),
            }
        }
        if filled == 0 {
            return Ok(());
        }
        total += filled as u64;
        if total > limit {
            return Err(Broken::TooLarge);
        }
        if cancelled.load(Ordering::Relaxed) {
            return Err(Broken::Cancelled);
        }
        chunk.truncate(filled);
        let chunk = Bytes::from(chunk);
        if to_hash.send(chunk.clone()).is_err() || to_tree.send(chunk).is_err() {
            // The other side failed and says why.
            return Ok(());
        }
    }
}

/// The receiving side as a reader. Its end is the end of the archive or of the producer, who then
/// tells the reason.
///
/// An archive that ends right after its last file's content is filled up to a whole block: umoci
/// writes such layers, and Go's reader, by which images are measured, takes them.
pub(super) struct Chunks {
    from: Receiver<Bytes>,
    current: Bytes,
    /// Bytes given out of the block that is being read.
    in_block: usize,
}

const BLOCK: usize = 512;

impl Chunks {
    pub(super) fn new(from: Receiver<Bytes>) -> Self {
        Self {
            from,
            current: Bytes::new(),
            in_block: 0,
        }
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty() {
            match self.from.recv() {
                Ok(chunk) => self.current = chunk,
                Err(_) if self.in_block > 0 => {
                    self.current = Bytes::from(vec![0; BLOCK - self.in_block]);
                }
                Err(_) => return Ok(0),
            }
        }
        let length = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..length]);
        self.in_block = (self.in_block + length) % BLOCK;
        Ok(length)
    }
}
