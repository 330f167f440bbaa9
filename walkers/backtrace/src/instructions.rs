//! Checking call frame instructions, which unwinders run unchecked.
//!
//! The encoding is that of DWARF 5, section 7.24, with the GNU and the `AArch64` extensions that
//! unwinders know. What expressions compute is not looked into.

use crate::bytes::Bytes;

/// Checks that `program` consists of known instructions, each with all of its operands.
///
/// `address_bytes` is the size of an encoded address in this table.
pub(crate) fn check(mut program: Bytes<'_>, address_bytes: usize) -> Option<()> {
    let mut remembered = 0_usize;
    while !program.is_empty() {
        let opcode = program.u8()?;
        match opcode {
            // remember_state; restore_state takes back one that was remembered.
            0x0a => remembered += 1,
            0x0b => remembered = remembered.checked_sub(1)?,
            _ => skip_operands(opcode, &mut program, address_bytes)?,
        }
    }
    Some(())
}

fn skip_operands(opcode: u8, program: &mut Bytes<'_>, address_bytes: usize) -> Option<()> {
    match opcode {
        // advance_loc and restore, with their operand inside; nop; negate_ra_state.
        0x40..=0x7f | 0xc0..=0xff | 0x00 | 0x2d => {}
        // offset, with one operand inside.
        0x80..=0xbf => skip_unsigned(program, 1)?,
        // set_loc, advance_loc1, advance_loc2, advance_loc4.
        0x01 => skip_bytes(program, address_bytes)?,
        0x02 => skip_bytes(program, 1)?,
        0x03 => skip_bytes(program, 2)?,
        0x04 => skip_bytes(program, 4)?,
        // restore_extended, undefined, same_value, def_cfa_register, def_cfa_offset, args_size.
        0x06..=0x08 | 0x0d | 0x0e | 0x2e => skip_unsigned(program, 1)?,
        // offset_extended, register, def_cfa, val_offset, negative_offset_extended.
        0x05 | 0x09 | 0x0c | 0x14 | 0x2f => skip_unsigned(program, 2)?,
        // def_cfa_expression.
        0x0f => skip_block(program)?,
        // expression, val_expression.
        0x10 | 0x16 => {
            skip_unsigned(program, 1)?;
            skip_block(program)?;
        }
        // offset_extended_sf, def_cfa_sf, val_offset_sf.
        0x11 | 0x12 | 0x15 => {
            skip_unsigned(program, 1)?;
            program.skip_sleb128()?;
        }
        // def_cfa_offset_sf.
        0x13 => program.skip_sleb128()?,
        _ => return None,
    }
    Some(())
}

fn skip_bytes(program: &mut Bytes<'_>, count: usize) -> Option<()> {
    program.take(count).map(|_| ())
}

fn skip_unsigned(program: &mut Bytes<'_>, count: usize) -> Option<()> {
    (0..count).try_for_each(|_| program.uleb128().map(|_| ()))
}

fn skip_block(program: &mut Bytes<'_>) -> Option<()> {
    program.block().map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::bytes::Bytes;

    fn accepts(program: &[u8]) -> bool {
        check(Bytes(program), 4).is_some()
    }

    #[test]
    fn every_instruction_takes_its_operands_and_no_more() {
        for instruction in [
            &[0x00_u8][..],
            &[0x01, 1, 2, 3, 4],
            &[0x02, 1],
            &[0x03, 1, 2],
            &[0x04, 1, 2, 3, 4],
            &[0x05, 0x80, 1, 2],
            &[0x06, 1],
            &[0x07, 1],
            &[0x08, 1],
            &[0x09, 1, 2],
            &[0x0c, 7, 8],
            &[0x0d, 6],
            &[0x0e, 0x90, 1],
            &[0x0f, 2, 0x77, 8],
            &[0x10, 3, 1, 0x96],
            &[0x11, 1, 0x7f],
            &[0x12, 1, 0xff, 0x7f],
            &[0x13, 0x7c],
            &[0x14, 1, 2],
            &[0x15, 1, 0x7f],
            &[0x16, 3, 1, 0x96],
            &[0x2d],
            &[0x2e, 16],
            &[0x2f, 1, 2],
            &[0x41],
            &[0x86, 2],
            &[0xc6],
        ] {
            assert!(accepts(instruction), "{instruction:x?}");
            // Twice in a row only if the first did not take a byte too few or too many.
            let twice = [instruction, &[0xff], instruction].concat();
            assert!(accepts(&twice), "{twice:x?}");
            let (_, truncated) = instruction.split_last().expect("bytes");
            assert!(
                truncated.is_empty() || !accepts(truncated),
                "{truncated:x?}"
            );
        }
    }

    #[test]
    fn unknown_instructions_are_refused() {
        for opcode in (0x17..=0x2c).chain(0x30..=0x3f) {
            assert!(!accepts(&[opcode, 0, 0, 0, 0, 0, 0, 0, 0]), "{opcode:#x}");
        }
    }

    #[test]
    fn a_state_is_restored_only_after_it_was_remembered() {
        assert!(accepts(&[0x0a, 0x0b]));
        assert!(!accepts(&[0x0b]));
        assert!(!accepts(&[0x0a, 0x0b, 0x0b]));
    }

    #[test]
    fn a_block_may_not_reach_past_the_end() {
        assert!(!accepts(&[0x0f, 3, 0, 0]));
        assert!(!accepts(&[
            0x0f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0
        ]));
    }
}
