//! Imports that only this host has, and the console.

pub(crate) mod console;
pub(crate) mod directory;
pub(crate) mod files;
pub(crate) mod spectest;
