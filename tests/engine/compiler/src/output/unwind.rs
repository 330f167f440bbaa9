//! Unwind tables for the whole text, in the format of `.eh_frame`.
//!
//! Each address in the tables is relative to its own place. Text and tables work at any address if
//! the tables follow the text directly.

use crate::error::CompileError;
use cranelift_codegen::isa::TargetIsa;
use cranelift_codegen::isa::unwind::UnwindInfo;
use gimli::write::{Address, EhFrame, EndianVec, FrameTable};
use gimli::{DW_EH_PE_pcrel, DW_EH_PE_sdata4, DwEhPe, LittleEndian};

/// The end of the tables: an entry of length 0.
const TERMINATOR: [u8; 4] = [0; 4];

/// Writes the tables for pieces of code at these offsets in a text of `text_bytes` bytes.
///
/// Bytecode has none.
pub(crate) fn eh_frame(
    isa: &dyn TargetIsa,
    pieces: &[(u32, UnwindInfo)],
    text_bytes: usize,
) -> Result<Vec<u8>, CompileError> {
    let Some(mut cie) = isa.create_systemv_cie() else {
        return Ok(Vec::new());
    };
    cie.fde_address_encoding = DwEhPe(DW_EH_PE_pcrel.0 | DW_EH_PE_sdata4.0);
    let mut table = FrameTable::default();
    let cie = table.add_cie(cie);
    for (offset, info) in pieces {
        let UnwindInfo::SystemV(info) = info else {
            return Err(CompileError::Target("foreign unwind tables".into()));
        };
        table.add_fde(cie, info.to_fde(address(*offset, text_bytes)));
    }
    let mut section = EhFrame::from(EndianVec::new(LittleEndian));
    table
        .write_eh_frame(&mut section)
        .map_err(CompileError::backend)?;
    let mut bytes = section.0.into_vec();
    bytes.extend(TERMINATOR);
    Ok(bytes)
}

/// The address of code if the tables are at address 0, where the text ends.
fn address(offset: u32, text_bytes: usize) -> Address {
    Address::Constant(u64::from(offset).wrapping_sub(text_bytes as u64))
}
