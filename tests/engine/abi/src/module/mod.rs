//! The description of a compiled module.

mod compiled_module;
mod const_expr;
mod safepoint;
mod segment;
mod target;

pub use compiled_module::{
    CompiledModule, Export, ExportItem, GlobalDefinition, Import, Origin, TEXT_ALIGN,
};
pub use const_expr::ConstExpr;
pub use safepoint::Safepoint;
pub use segment::{DataSegment, ElementSegment, SegmentMode};
pub use target::{Architecture, Target};
