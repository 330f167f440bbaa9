//! The guests: compiled ahead of time for this machine, and included in the host.

/// A guest as an object file of the compiler.
pub(crate) struct Guest {
    /// The name of the file, without its extension.
    pub(crate) name: &'static str,
    /// The object file.
    pub(crate) object: &'static [u8],
}

/// Includes a guest from the folder that the environment variable `GUESTS` names.
macro_rules! guest {
    ($name:literal) => {
        Guest {
            name: $name,
            object: include_bytes!(concat!(env!("GUESTS"), "/", $name, ".o")),
        }
    };
}

/// Guests that check themselves in `main`, with the same collections on every machine.
///
/// All of `tests/programs` is here except `files`, which needs files. A microcontroller has no
/// memory for thousands of frames.
pub(crate) const PROGRAMS: &[Guest] = &[
    guest!("borrowed_argument"),
    guest!("bulk_operations"),
    guest!("collection_between_arguments"),
    guest!("control_flow"),
    guest!("cycle_in_frame"),
    guest!("cycle_in_table"),
    guest!("cyclic_garbage"),
    guest!("deep_recursion"),
    guest!("dropped_in_recursion"),
    guest!("finalizers"),
    guest!("functions_without_maps"),
    guest!("garbage"),
    guest!("globals"),
    guest!("indirect_calls"),
    guest!("linked_list"),
    guest!("many_references"),
    guest!("multi_value"),
    guest!("nested_calls"),
    guest!("random_graph"),
    guest!("safepoints_without_references"),
    guest!("start_and_growth"),
    guest!("tables"),
    guest!("tail_calls"),
    #[cfg(not(feature = "interpreted"))]
    guest!("thousands_of_frames"),
    guest!("traps"),
    guest!("waiting_operands"),
    guest!("weak_references"),
];

/// A guest that runs out of stack. Its depth depends on the machine.
pub(crate) const STACK_OVERFLOW: Guest = guest!("stack_overflow");

/// A guest that carries on when the host has no memory for new objects.
pub(crate) const FAILING_ALLOCATOR: Guest = guest!("failing_allocator");
