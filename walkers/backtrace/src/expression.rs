//! Expressions of call frame instructions, which unwinders evaluate unchecked.
//!
//! GCC's unwinder (`execute_stack_op` in `libgcc/unwind-dw2.c`) aborts at an unknown operation, at
//! an empty stack and at a full one. LLVM's unwinder (`evaluateExpression` in
//! `libunwind/src/DwarfInstructions.hpp`) aborts at an unknown operation, and does not check its
//! stack. Branches are refused because they can loop, and divisions because they can trap.

use crate::registers;
use gimli::{DW_OP_implicit_pointer, DW_OP_pick, DW_OP_piece, DwOp, EndianSlice, NativeEndian};
use gimli::{Encoding, Expression, Operation};

/// The values that both unwinders have room for: GCC's has room for 64, LLVM's for 99.
const STACK: usize = 64;

/// Bytes of a table.
pub(crate) type Slice<'a> = EndianSlice<'a, NativeEndian>;

/// Checks that both unwinders can evaluate an expression; `None` if one of them cannot.
pub(crate) fn check(expression: Expression<Slice<'_>>, encoding: Encoding) -> Option<()> {
    // An unwinder starts with one value: the CFA, or zero where the CFA is computed.
    let mut depth = 1_usize;
    let mut operations = expression.operations(encoding);
    loop {
        let at = operations.offset_from(&expression);
        // gimli multiplies the size of a piece, and the product may overflow.
        if expression.0.get(at) == Some(&DW_OP_piece.0) {
            return None;
        }
        let Some(operation) = operations.next().ok()? else {
            return (depth > 0).then_some(());
        };
        let (taken, given) = effect(DwOp(expression.0[at]), &operation)?;
        depth = depth.checked_sub(taken)? + given;
        if depth > STACK {
            return None;
        }
    }
}

/// The number of values that an operation needs on the stack, and that it replaces them by.
fn effect(opcode: DwOp, operation: &Operation<Slice<'_>>) -> Option<(usize, usize)> {
    // LLVM's unwinder knows no operation of DWARF 5, and none of GNU's.
    if opcode.0 >= DW_OP_implicit_pointer.0 {
        return None;
    }
    let effect = match *operation {
        Operation::UnsignedConstant { .. }
        | Operation::SignedConstant { .. }
        | Operation::Address { .. } => (0, 1),
        Operation::Register { register } | Operation::RegisterOffset { register, .. }
            if registers::is_general(register) =>
        {
            (0, 1)
        }
        Operation::Pick { index } => {
            // For `DW_OP_pick`, GCC's unwinder requires one value more than it reads.
            let taken = usize::from(index) + 1 + usize::from(opcode == DW_OP_pick);
            (taken, taken + 1)
        }
        Operation::Drop => (1, 0),
        Operation::Swap => (2, 2),
        Operation::Rot => (3, 3),
        Operation::Deref {
            size: 1 | 2 | 4 | 8,
            space: false,
            ..
        }
        | Operation::Abs
        | Operation::Neg
        | Operation::Not
        | Operation::PlusConstant { .. } => (1, 1),
        Operation::And
        | Operation::Minus
        | Operation::Mul
        | Operation::Or
        | Operation::Plus
        | Operation::Shl
        | Operation::Shr
        | Operation::Shra
        | Operation::Xor
        | Operation::Eq
        | Operation::Ge
        | Operation::Gt
        | Operation::Le
        | Operation::Lt
        | Operation::Ne => (2, 1),
        _ => return None,
    };
    Some(effect)
}

#[cfg(test)]
mod tests {
    use super::{STACK, check};
    use gimli::{Encoding, EndianSlice, Expression, Format, NativeEndian};

    fn accepts(expression: &[u8]) -> bool {
        let encoding = Encoding {
            address_size: 8,
            format: Format::Dwarf32,
            version: 1,
        };
        let expression = Expression(EndianSlice::new(expression, NativeEndian));
        check(expression, encoding).is_some()
    }

    #[test]
    fn what_linkers_and_compilers_emit_is_accepted() {
        // The table of a linker for its jump stubs: `sp + 8 + ((pc & 15) >= 11) * 8`. Elsewhere the
        // register for `pc` that x86-64 has may be none for addresses; `r14` stands in on s390x.
        let pc = if cfg!(target_arch = "s390x") {
            0x7e
        } else if cfg!(target_arch = "x86") {
            0x78
        } else {
            0x80
        };
        assert!(accepts(&[
            0x77, 8, pc, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22
        ]));
        // A signed return address: the literal one.
        assert!(accepts(&[0x31]));
        assert!(accepts(&[]), "the value that an unwinder starts with");
    }

    #[test]
    fn each_operation_needs_its_values_on_the_stack() {
        let unary: &[&[u8]] = &[
            &[0x06],
            &[0x94, 8],
            &[0x19],
            &[0x1f],
            &[0x20],
            &[0x23, 8],
            &[0x12],
        ];
        let binary: &[&[u8]] = &[
            &[0x1a],
            &[0x1c],
            &[0x1e],
            &[0x21],
            &[0x22],
            &[0x24],
            &[0x25],
            &[0x26],
            &[0x27],
            &[0x29],
            &[0x2a],
            &[0x2b],
            &[0x2c],
            &[0x2d],
            &[0x2e],
            &[0x16],
            &[0x14],
            &[0x15, 0],
        ];
        let ternary: &[&[u8]] = &[&[0x17], &[0x15, 1]];
        for (needed, operations) in [(1, unary), (2, binary), (3, ternary)] {
            for operation in operations {
                // One value is there to start with; 0x13 drops it, 0x31 pushes one.
                let enough = [&vec![0x31; needed - 1], *operation].concat();
                assert!(accepts(&enough), "{enough:x?}");
                let few = [&[0x13][..], &enough, &[0x31]].concat();
                assert!(!accepts(&few), "{few:x?}");
            }
        }
        assert!(!accepts(&[0x13]), "nothing is left for the result");
        assert!(!accepts(&[0x31, 0x22, 0x22]), "a sum leaves one value");
    }

    #[test]
    fn every_way_to_push_a_value_is_known() {
        for push in [
            &[0x03, 1, 2, 3, 4, 5, 6, 7, 8][..],
            &[0x08, 1],
            &[0x09, 1],
            &[0x0a, 1, 2],
            &[0x0b, 1, 2],
            &[0x0c, 1, 2, 3, 4],
            &[0x0d, 1, 2, 3, 4],
            &[0x0e, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0x0f, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0x10, 1],
            &[0x11, 1],
            &[0x30],
            &[0x4f],
            &[0x50],
            &[0x70, 0],
            &[0x90, 3],
            &[0x92, 3, 0],
        ] {
            let alone = [&[0x13], push].concat();
            assert!(accepts(&alone), "{alone:x?}");
            assert!(
                !accepts(&push[..push.len() - 1]) || push.len() == 1,
                "{push:x?}"
            );
        }
    }

    #[test]
    fn the_stack_of_neither_unwinder_overflows() {
        assert!(accepts(&[0x31; STACK - 1]));
        assert!(!accepts(&[0x31; STACK]));
        assert!(!accepts(&[0x12; STACK]));
    }

    /// Defect: gimli counts the bits of a piece, and panicked where a word cannot.
    #[test]
    fn a_huge_piece_is_refused() {
        let mut huge = [0xff; 11];
        [huge[0], huge[10]] = [0x93, 0x01];
        assert!(!accepts(&huge));
    }

    #[test]
    fn operations_that_an_unwinder_aborts_at_or_hangs_in_are_refused() {
        for operation in [
            &[0x1b][..],            // div
            &[0x1d],                // mod
            &[0x2f, 0xfd, 0xff],    // skip, to itself
            &[0x28, 0, 0],          // bra
            &[0x18],                // xderef
            &[0x91, 0],             // fbreg
            &[0x93, 8],             // piece
            &[0x94, 3],             // deref_size of three bytes
            &[0x95, 8],             // xderef_size
            &[0x96],                // nop, which LLVM's does not know
            &[0x97],                // push_object_address
            &[0x9b],                // form_tls_address
            &[0x9c],                // call_frame_cfa
            &[0x9f],                // stack_value
            &[0xa3, 1, 0x50],       // entry_value
            &[0xa5, 0, 0],          // regval_type
            &[0xa6, 8, 0],          // deref_type
            &[0xa8, 0],             // convert
            &[0xf0],                // GNU_uninit
            &[0x90, 0xff, 0x7f],    // regx, of a register that does not exist
            &[0x92, 0xff, 0x7f, 0], // bregx, of the same
            &[0x01],                // unknown
        ] {
            let supplied = [&[0x31, 0x31, 0x31], operation, &[0x31]].concat();
            assert!(!accepts(&supplied), "{supplied:x?}");
        }
    }
}
