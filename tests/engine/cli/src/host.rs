//! What guests may import beside the functions that every host has, and where their lines go.

pub(crate) mod console;
pub(crate) mod directory;
pub(crate) mod files;
pub(crate) mod spectest;
