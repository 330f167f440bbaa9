//! The two engines behind one trait, and the host state that both use.

mod ours;
#[cfg(feature = "wasmtime")]
mod peer;
mod raw_host;

pub(crate) use ours::{Ours, Scene};

use crate::contender::Contender;
use crate::handles::Handles;
use crate::stopwatch::{Effort, Stopwatch};
use core::any::Any;
use core::sync::atomic::{AtomicI32, Ordering};

/// Why a measurement failed.
pub(crate) type Failure = Box<dyn core::error::Error>;

/// One instance of a guest, in either engine.
pub(crate) trait Engine {
    /// Calls an export of type `[i32] -> [i32]`.
    fn run(&mut self, export: &str, x: i32) -> Result<i32, Failure>;

    /// Times calls of the export `empty` of type `[] -> []`.
    fn time_empty_calls(&mut self) -> Result<(), Failure>;

    /// Times calls of the export `same` of type `[externref] -> [externref]`.
    fn time_reference_calls(&mut self) -> Result<(), Failure>;

    /// The measured nanoseconds per iteration.
    fn figure(&mut self) -> Option<f64>;
}

/// Instantiates the guest `text` in the engine of `contender`.
pub(crate) fn instantiate(
    contender: Contender,
    text: &str,
    effort: Effort,
) -> Result<Box<dyn Engine>, Failure> {
    match contender {
        Contender::Ours | Contender::OurHandle => Ok(Box::new(Ours::new(text, effort)?)),
        #[cfg(feature = "wasmtime")]
        peer => Ok(Box::new(peer::Peer::new(peer, text, effort)?)),
        #[cfg(not(feature = "wasmtime"))]
        peer => Err(format!("{peer} needs the feature `wasmtime`").into()),
    }
}

/// Bytes of stack that guests may use, in both engines.
pub(crate) const STACK_BYTES: usize = 512 << 20;

/// The state of host functions, the same in both engines.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) stopwatch: Stopwatch,
    pub(crate) handles: Handles<Box<dyn Any + Send + Sync>>,
}

impl Host {
    pub(crate) fn new(effort: Effort) -> Self {
        Self {
            stopwatch: Stopwatch::new(effort),
            handles: Handles::new(),
        }
    }

    pub(crate) fn new_handle(&mut self, value: u64) -> i32 {
        i32::try_from(self.handles.insert(Box::new(value))).unwrap_or(-1)
    }

    pub(crate) fn drop_handle(&mut self, handle: i32) {
        drop(
            usize::try_from(handle)
                .ok()
                .and_then(|handle| self.handles.remove(handle)),
        );
    }

    pub(crate) fn handle_value(&self, handle: i32) -> Option<u64> {
        let object = self.handles.find(usize::try_from(handle).ok()?)?;
        object.downcast_ref::<u64>().copied()
    }
}

/// An object that counts itself while it is alive.
#[derive(Debug)]
pub(crate) struct Watched(());

static ALIVE: AtomicI32 = AtomicI32::new(0);

impl Watched {
    pub(crate) fn new() -> Self {
        ALIVE.fetch_add(1, Ordering::Relaxed);
        Self(())
    }

    /// The number of watched objects that are alive.
    pub(crate) fn alive() -> i32 {
        ALIVE.load(Ordering::Relaxed)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::Relaxed);
    }
}
