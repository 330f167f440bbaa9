//! The engine as a whole: programs, scripts, two stores on one stack, and the command line.

mod command_line;
mod compared;
mod compile;
mod contexts;
mod host_functions;
mod programs;
mod scripts;
