//! Watches over what an input costs.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::Target;

/// Bytes an input may take at its worst moment, whatever its size.
const MEMORY: usize = 48 << 20;
/// Bytes it may take for each byte of its own. A `0,` in an array is a value of 72 bytes, three times that while its
/// list grows, and some targets hold several copies.
const MEMORY_PER_BYTE: usize = 1500;
/// Bytes above which an allocation fails, which ends the process.
const MEMORY_AT_ALL: usize = 1 << 30;
/// Processor time an input may take, whatever its size; the programs that run the targets are slow ones.
const TIME: Duration = Duration::from_millis(2_500);
/// Processor time it may take for each byte of its own.
const TIME_PER_BYTE: Duration = Duration::from_micros(100);

/// The system's allocator, counting.
#[derive(Debug)]
pub struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn grow(bytes: usize) -> bool {
    let live = LIVE.fetch_add(bytes, Relaxed) + bytes;
    if live > MEMORY_AT_ALL {
        LIVE.fetch_sub(bytes, Relaxed);
        return false;
    }
    PEAK.fetch_max(live, Relaxed);
    true
}

#[allow(unsafe_code)] // an allocator is unsafe to be; every call is passed on as it came
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !grow(layout.size()) {
            return std::ptr::null_mut();
        }
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !grow(layout.size()) {
            return std::ptr::null_mut();
        }
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size > layout.size() {
            if !grow(size - layout.size()) {
                return std::ptr::null_mut();
            }
        } else {
            LIVE.fetch_sub(layout.size() - size, Relaxed);
        }
        unsafe { System.realloc(at, layout, size) }
    }
}

/// Processor time of this thread.
fn spent() -> Option<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
}

/// Runs a target over an input, and panics too when it takes more memory or processor time than its size excuses.
pub fn run(target: &Target, bytes: &[u8]) {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let started = Instant::now();
    (target.run)(bytes);
    let took = PEAK.load(Relaxed).saturating_sub(before);
    let memory = MEMORY + MEMORY_PER_BYTE * bytes.len();
    assert!(
        took <= memory,
        "{}: {} bytes of input took {took} bytes of memory",
        target.name,
        bytes.len()
    );
    let time = TIME + TIME_PER_BYTE * u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    if started.elapsed() <= time {
        return;
    }
    // It may have waited for the processor: once more, by the processor's clock.
    let before = spent();
    (target.run)(bytes);
    if let (Some(before), Some(after)) = (before, spent()) {
        let took = after.saturating_sub(before);
        assert!(
            took <= time,
            "{}: {} bytes of input took {took:?}",
            target.name,
            bytes.len()
        );
    }
}
