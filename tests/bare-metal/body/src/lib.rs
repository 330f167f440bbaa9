//! The tests that every host runs, the same on each machine.
//!
//! *You provide* a [`Machine`]: a console, a heap and executable memory. *You get* [`run`], which
//! prints a line for each test. The line has to be the same on every machine. Lines that start with
//! `measured` may differ.

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
