//! The tests that every host runs, the same on each machine.
//!
//! *You provide* a [`Machine`]: a console, a heap and what runs the guests. *You get* [`run`],
//! which prints a line for each test. The line has to be the same on every machine. Lines that
//! start with `measured` may differ.
//!
//! Feature `interpreted` is for microcontrollers, on which the guests are bytecode.

#![no_std]

extern crate alloc;

mod basics;
mod engine;
mod exhaustion;
mod fault;
mod fixed_memory;
mod guests;
mod host;
mod machine;
mod measured_heap;
mod programs;
mod ram_placer;
mod report;
mod session;
#[cfg(feature = "interpreted")]
mod two_heaps;

pub use engine::Engine;
pub use fixed_memory::FixedMemory;
pub use machine::{Machine, run};
pub use measured_heap::{HeapMeter, MeasuredHeap};
pub use ram_placer::RamPlacer;
#[cfg(feature = "interpreted")]
pub use two_heaps::TwoHeaps;
