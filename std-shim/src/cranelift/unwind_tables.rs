//! Unwind tables of compiled functions, in the format of `.eh_frame`.

use super::CraneliftError;
use cranelift_codegen::gimli::write::{
    Address, CallFrameInstruction, CommonInformationEntry, EhFrame, EndianVec, FrameTable,
};
use cranelift_codegen::gimli::{DW_EH_PE_pcrel, DW_EH_PE_sdata4, DwEhPe, RiscV, RunTimeEndian};
use cranelift_codegen::ir::{Endianness, ExternalName, LibCall};
use cranelift_codegen::isa::TargetIsa;
use cranelift_codegen::isa::unwind::{UnwindInfo, systemv};
use cranelift_codegen::{CompiledCode, FinalizedRelocTarget};

/// The end of the tables: an entry of length 0.
const TERMINATOR: [u8; 4] = [0; 4];

/// Writes the unwind tables of functions whose code is in memory already.
///
/// `address` is where the module's code lies. Each function comes with its offset from there, in
/// bytes. The tables are for [`UnwindTables::register`](crate::UnwindTables::register), and may lie
/// anywhere.
///
/// ```
/// use cranelift_codegen::{CompiledCode, isa::TargetIsa};
/// use vmexternref::{UnwindTables, cranelift};
///
/// /// Makes the system's unwinder know one function.
/// ///
/// /// # Safety
/// ///
/// /// The function's code is at `address`, and stays there while the tables are registered.
/// unsafe fn register(
///     isa: &dyn TargetIsa,
///     function: &CompiledCode,
///     address: usize,
/// ) -> Result<UnwindTables, Box<dyn std::error::Error>> {
///     let tables = cranelift::unwind_tables(isa, address, [(0, function)])?;
///     // SAFETY: Cranelift made the tables for this code.
///     Ok(unsafe { UnwindTables::register(tables)? })
/// }
/// ```
///
/// # Errors
///
/// [`CraneliftError::NoUnwindTables`] for targets that have none in this format, and
/// [`CraneliftError::Unwind`] for what Cranelift or gimli refuses.
pub fn unwind_tables<'f>(
    isa: &dyn TargetIsa,
    address: usize,
    functions: impl IntoIterator<Item = (u32, &'f CompiledCode)>,
) -> Result<Box<[u8]>, CraneliftError> {
    let mut tables = UnwindTableBuilder::new(isa)?;
    for (text_offset, function) in functions {
        tables.add_function(isa, text_offset, function)?;
    }
    tables.finish_at(address)
}

/// Collects what unwinders must know of functions, until their place is known.
#[derive(Debug)]
pub struct UnwindTableBuilder {
    endian: RunTimeEndian,
    common: CommonInformationEntry,
    functions: Vec<Described>,
}

/// What unwinders must know of a function.
#[derive(Debug)]
struct Described {
    text_offset: u32,
    info: systemv::UnwindInfo,
    /// An instruction that Cranelift does not give, and the code offset from which it holds.
    correction: Option<(u32, CallFrameInstruction)>,
}

impl UnwindTableBuilder {
    /// Nothing yet.
    ///
    /// # Errors
    ///
    /// [`CraneliftError::NoUnwindTables`] for targets that have none in this format.
    pub fn new(isa: &dyn TargetIsa) -> Result<Self, CraneliftError> {
        Ok(Self {
            endian: match isa.endianness() {
                Endianness::Little => RunTimeEndian::Little,
                Endianness::Big => RunTimeEndian::Big,
            },
            common: isa
                .create_systemv_cie()
                .ok_or(CraneliftError::NoUnwindTables)?,
            functions: Vec::new(),
        })
    }

    /// Adds a function, or a trampoline, that lies `text_offset` bytes into the module's code.
    ///
    /// # Errors
    ///
    /// As for [`unwind_tables`].
    pub fn add_function(
        &mut self,
        isa: &dyn TargetIsa,
        text_offset: u32,
        function: &CompiledCode,
    ) -> Result<(), CraneliftError> {
        match function.create_unwind_info(isa) {
            Ok(Some(UnwindInfo::SystemV(info))) => self.functions.push(Described {
                text_offset,
                info,
                correction: correction(isa, function),
            }),
            Ok(_) => return Err(CraneliftError::NoUnwindTables),
            Err(error) => return Err(CraneliftError::Unwind(error.to_string())),
        }
        Ok(())
    }

    /// Writes the tables for code at `address`. The tables may lie anywhere.
    ///
    /// # Errors
    ///
    /// As for [`unwind_tables`].
    pub fn finish_at(self, address: usize) -> Result<Box<[u8]>, CraneliftError> {
        self.write(|offset| (address as u64).wrapping_add(u64::from(offset)))
    }

    /// Writes the tables for code of `text_bytes` bytes that they will follow directly, wherever
    /// both lie.
    ///
    /// # Errors
    ///
    /// As for [`unwind_tables`].
    pub fn finish_behind(mut self, text_bytes: u32) -> Result<Box<[u8]>, CraneliftError> {
        self.common.fde_address_encoding = DwEhPe(DW_EH_PE_pcrel.0 | DW_EH_PE_sdata4.0);
        // As if the tables were at address 0.
        self.write(|offset| u64::from(offset).wrapping_sub(u64::from(text_bytes)))
    }

    fn write(self, address: impl Fn(u32) -> u64) -> Result<Box<[u8]>, CraneliftError> {
        let mut table = FrameTable::default();
        let common = table.add_cie(self.common);
        for function in self.functions {
            let start = Address::Constant(address(function.text_offset));
            let mut described = function.info.to_fde(start);
            if let Some((offset, instruction)) = function.correction {
                described.add_instruction(offset, instruction);
            }
            table.add_fde(common, described);
        }
        let mut section = EhFrame(EndianVec::new(self.endian));
        table
            .write_eh_frame(&mut section)
            .map_err(|error| CraneliftError::Unwind(error.to_string()))?;
        let mut bytes = section.0.into_vec();
        bytes.extend(TERMINATOR);
        Ok(bytes.into())
    }
}

/// Where the caller's frame pointer is, on RISC-V.
///
/// A function with a `try_call` that may clobber every register stores the frame pointer once more
/// there, when it is the function's own already, and Cranelift 0.135 tells unwinders of the second
/// place. The first is in the frame's record, at the caller's stack pointer less its size.
fn correction(isa: &dyn TargetIsa, function: &CompiledCode) -> Option<(u32, CallFrameInstruction)> {
    /// Bytes of a frame's record: the caller's frame pointer, and the return address.
    const RECORD_BYTES: i32 = 16;
    /// Bytes of the call instructions of a prologue, which are never compressed.
    const CALL_BYTES: u32 = 8;
    /// What Cranelift's tables count code offsets in, in bytes.
    const CODE_ALIGNMENT: u32 = 2;

    let calls = || function.buffer.call_sites();
    if isa.name() != "riscv64" || calls().all(|call| call.exception_handlers.is_empty()) {
        return None;
    }
    // A frame is looked at where a call returns. What a prologue calls walks no frames.
    let mut relocations = function.buffer.relocs().iter();
    let probe = relocations.find(|it| match &it.target {
        FinalizedRelocTarget::ExternalName(name) => {
            *name == ExternalName::LibCall(LibCall::Probestack)
        }
        FinalizedRelocTarget::Func(_) => false,
    });
    let prologue = probe.map_or(0, |it| it.offset + CALL_BYTES);
    let first = calls().find(|call| call.ret_addr > prologue)?;
    let within = (first.ret_addr - 1) / CODE_ALIGNMENT * CODE_ALIGNMENT;
    let place = CallFrameInstruction::Offset(RiscV::X8, -RECORD_BYTES);
    Some((within, place))
}

// Cranelift has no code generator for 32-bit hosts.
#[cfg(all(test, target_pointer_width = "64"))]
mod tests {
    use super::{CraneliftError, UnwindTableBuilder, unwind_tables};
    use cranelift_codegen::control::ControlPlane;
    use cranelift_codegen::gimli::{
        BaseAddresses, EhFrame, EndianSlice, RunTimeEndian, UnwindSection,
    };
    use cranelift_codegen::ir::InstBuilder;
    use cranelift_codegen::isa::OwnedTargetIsa;
    use cranelift_codegen::{CompiledCode, Context, settings};
    use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

    fn isa() -> OwnedTargetIsa {
        let isa = cranelift_native::builder().expect("a known host");
        isa.finish(settings::Flags::new(settings::builder()))
            .expect("settings that fit")
    }

    fn compile() -> CompiledCode {
        let isa = isa();
        let mut context = Context::new();
        context.func.signature.call_conv = isa.default_call_conv();
        let mut builder_context = FunctionBuilderContext::new();
        let mut builder = FunctionBuilder::new(&mut context.func, &mut builder_context);
        let block = builder.create_block();
        builder.switch_to_block(block);
        builder.seal_block(block);
        builder.ins().return_(&[]);
        builder.finalize(isa.frontend_config());
        let compiled = context.compile(&*isa, &mut ControlPlane::default());
        compiled.expect("it compiles").clone()
    }

    /// The ranges of code that tables at this address describe.
    fn described(tables: &[u8], address: u64) -> Vec<(u64, u64)> {
        assert_eq!(tables[tables.len() - 4..], [0; 4], "the unwinder's end");
        let section = EhFrame::from(EndianSlice::new(tables, RunTimeEndian::default()));
        let bases = BaseAddresses::default().set_eh_frame(address);
        let mut entries = section.entries(&bases);
        let mut ranges = Vec::new();
        while let Some(entry) = entries.next().expect("well formed") {
            if let cranelift_codegen::gimli::CieOrFde::Fde(partial) = entry {
                let fde = partial
                    .parse(EhFrame::cie_from_offset)
                    .expect("well formed");
                ranges.push((fde.initial_address(), fde.len()));
            }
        }
        ranges
    }

    #[test]
    fn tables_describe_the_code_where_it_is() {
        let function = compile();
        let bytes = u64::from(function.buffer.total_size());
        let functions = [(0, &function), (0x100, &function)];
        let tables = unwind_tables(&*isa(), 0x4_0000, functions).expect("written");
        let expected = [(0x4_0000, bytes), (0x4_0100, bytes)];
        assert_eq!(described(&tables, 0x9_0000), expected, "wherever they lie");
    }

    #[test]
    fn tables_behind_the_code_move_with_it() {
        let function = compile();
        let bytes = u64::from(function.buffer.total_size());
        let mut builder = UnwindTableBuilder::new(&*isa()).expect("a known target");
        builder
            .add_function(&*isa(), 0x40, &function)
            .expect("added");
        let tables = builder.finish_behind(0x1000).expect("written");
        for text in [0x4_0000, 0x70_0000] {
            assert_eq!(
                described(&tables, text + 0x1000),
                [(text + 0x40, bytes)],
                "the text is at {text:#x}"
            );
        }
    }

    #[test]
    fn code_that_is_too_far_for_its_address_is_refused() {
        let function = compile();
        let mut builder = UnwindTableBuilder::new(&*isa()).expect("a known target");
        builder.add_function(&*isa(), 0, &function).expect("added");
        let refused = builder.finish_behind(u32::MAX);
        assert!(
            matches!(refused, Err(CraneliftError::Unwind(_))),
            "{refused:?}"
        );
    }
}
