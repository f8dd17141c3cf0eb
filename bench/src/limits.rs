//! What the machine itself can do: syncs of its disk, copies in its memory.

use std::fs::OpenOptions;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

/// `fdatasync`s a second after appends of `size` bytes, plain or into a file of written zeros.
pub(crate) fn sync_rate(dir: &Path, time: Duration, size: usize, zeroed: bool) -> Result<f64> {
    let path = dir.join("raw");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)?;
    let block = vec![b'x'; size];
    let mut written = 0_u64;
    if zeroed {
        file.write_all_at(&vec![0; 64 << 20], 0)?;
        file.sync_all()?;
    }
    let (begun, mut syncs) = (Instant::now(), 0);
    while begun.elapsed() < time && written < 60 << 20 {
        file.write_all_at(&block, written)?;
        file.sync_data()?;
        written += size as u64;
        syncs += 1;
    }
    let rate = f64::from(syncs) / begun.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(rate)
}

/// The best of several times to copy these bytes into memory that was touched before.
pub(crate) fn copy_time(bytes: &[u8]) -> Duration {
    let mut copy = vec![1_u8; bytes.len()];
    let mut best = Duration::MAX;
    for _ in 0..7 {
        let begun = Instant::now();
        copy.copy_from_slice(black_box(bytes));
        best = best.min(begun.elapsed());
        black_box(&copy);
    }
    best
}
