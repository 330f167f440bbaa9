//! What every host does once it runs: the tests, the same on each machine.
//!
//! A host brings a [`Machine`]: a console, its heap and executable memory. [`run`] prints a line for each test, which
//! has to be the same on every machine, and lines that start with `measured`, which may differ.

#![no_std]

extern crate alloc;

mod basics;
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

pub use fixed_memory::FixedMemory;
pub use machine::{Machine, run};
pub use measured_heap::{HeapMeter, MeasuredHeap};
pub use ram_placer::RamPlacer;
