//! A page that shows what the collections of a run saw and did.

mod ends;
mod page;
mod recorder;
mod recording;

pub use page::Page;
pub(crate) use recorder::Recorder;
