//! The text of a module.

use crate::emit::Symbol;
use crate::error::CompileError;
use crate::output::relocation::Relocation;
use crate::output::stack_maps::StackMaps;
use core::ops::Range;
use cranelift_codegen::isa::TargetIsa;
use cranelift_codegen::{
    CompiledCode, FinalizedMachReloc, FinalizedRelocTarget, ir::ExternalName, ir::Function,
};
use std::collections::HashMap;
use target_lexicon::Architecture;
use vmexternref::cranelift::UnwindTableBuilder;
use vmexternref_engine_abi::{Builtin, TEXT_ALIGN};

/// Collects pieces of code, one after the other, and the data about them.
pub(crate) struct Text {
    bytes: Vec<u8>,
    places: HashMap<Symbol, u32>,
    relocations: Vec<Relocation>,
    /// None for bytecode.
    unwind: Option<UnwindTableBuilder>,
    stack_maps: StackMaps,
    return_addresses: Vec<u32>,
    calls: Vec<(u32, u32)>,
}

/// A finished text with its tables.
pub(crate) struct FinishedText {
    /// Machine code.
    pub(crate) bytes: Vec<u8>,
    /// Unwind tables.
    pub(crate) eh_frame: Vec<u8>,
    /// The section of stack maps.
    pub(crate) stack_maps: Vec<u8>,
    /// Where each call of a function returns to.
    pub(crate) return_addresses: Vec<u32>,
    /// Where each call of a function body returns to, and its offset in the Wasm binary.
    pub(crate) calls: Vec<(u32, u32)>,
}

impl Text {
    /// No code yet.
    pub(crate) fn new(isa: &dyn TargetIsa) -> Self {
        Self {
            bytes: Vec::new(),
            places: HashMap::new(),
            relocations: Vec::new(),
            unwind: UnwindTableBuilder::new(isa).ok(),
            stack_maps: StackMaps::default(),
            return_addresses: Vec::new(),
            calls: Vec::new(),
        }
    }

    /// Appends the code of `func`, and returns its range in the text.
    pub(crate) fn append(
        &mut self,
        symbol: Symbol,
        func: &Function,
        code: &CompiledCode,
        isa: &dyn TargetIsa,
    ) -> Result<Range<u32>, CompileError> {
        if code.buffer.alignment as usize > TEXT_ALIGN {
            return Err(CompileError::Backend("code asks for more alignment".into()));
        }
        self.align(isa);
        let start = self.offset()?;
        self.bytes.extend_from_slice(code.code_buffer());
        let end = self.offset()?;
        for relocation in code.buffer.relocs() {
            self.relocations.push(relocated(start, func, relocation)?);
        }
        self.stack_maps.append(start, code);
        if let Symbol::Function(_) | Symbol::GuardedFunction(_) = symbol {
            let calls = code.buffer.call_sites();
            self.return_addresses
                .extend(calls.map(|call| start + call.ret_addr));
        }
        self.calls.extend(calls(start, code));
        if let Some(unwind) = &mut self.unwind {
            unwind
                .add_function(isa, start, code)
                .map_err(CompileError::backend)?;
        }
        self.places.insert(symbol, start);
        Ok(start..end)
    }

    /// The builtins that the code so far calls, in the order of their numbers.
    pub(crate) fn called_builtins(&self) -> Vec<Builtin> {
        let called = |builtin: &Builtin| {
            let symbol = Symbol::Builtin(*builtin);
            self.relocations
                .iter()
                .any(|relocation| relocation.target == symbol)
        };
        Builtin::ALL.into_iter().filter(called).collect()
    }

    /// Resolves all calls, and writes unwind tables and stack maps.
    pub(crate) fn finish(mut self, isa: &dyn TargetIsa) -> Result<FinishedText, CompileError> {
        self.align(isa);
        for relocation in &self.relocations {
            let target = self.target(relocation.target)?;
            relocation.apply(&mut self.bytes, target)?;
        }
        let text_bytes = self.offset()?;
        let eh_frame = self.unwind.map_or(Ok(Box::default()), |unwind| {
            // The tables follow the text.
            unwind.finish_behind(text_bytes)
        });
        let eh_frame = eh_frame.map_err(CompileError::backend)?.into_vec();
        Ok(FinishedText {
            bytes: self.bytes,
            eh_frame,
            stack_maps: self.stack_maps.finish()?,
            return_addresses: self.return_addresses,
            calls: self.calls,
        })
    }

    /// The offset of the code of that name, or the number of what is called in the host.
    fn target(&self, symbol: Symbol) -> Result<u32, CompileError> {
        match symbol {
            Symbol::HostCall(call) => Ok(call.number().into()),
            code => self
                .places
                .get(&code)
                .copied()
                .ok_or_else(|| CompileError::Backend(format!("a call to missing {code:?}"))),
        }
    }

    fn offset(&self) -> Result<u32, CompileError> {
        i32::try_from(self.bytes.len())
            .map(i32::cast_unsigned)
            .map_err(|_| CompileError::Limit("the module's code exceeds 2 GiB".into()))
    }

    /// Fills up to the alignment with bytes that trap when executed.
    fn align(&mut self, isa: &dyn TargetIsa) {
        const INT3: u8 = 0xcc;
        let filler = match isa.triple().architecture {
            Architecture::X86_64 => INT3,
            _ => 0,
        };
        let len = self.bytes.len().next_multiple_of(TEXT_ALIGN);
        self.bytes.resize(len, filler);
    }
}

/// The calls of a function body whose code begins at `start`: return offset, and place in the Wasm
/// binary.
fn calls(start: u32, code: &CompiledCode) -> impl Iterator<Item = (u32, u32)> {
    let places = code.buffer.get_srclocs_sorted();
    code.buffer.call_sites().filter_map(move |call| {
        let after = places.partition_point(|place| place.start < call.ret_addr);
        let place = &places[after.checked_sub(1)?];
        let known = call.ret_addr <= place.end && !place.loc.is_default();
        known.then(|| (start + call.ret_addr, place.loc.bits()))
    })
}

fn relocated(
    start: u32,
    func: &Function,
    relocation: &FinalizedMachReloc,
) -> Result<Relocation, CompileError> {
    let FinalizedRelocTarget::ExternalName(ExternalName::User(name)) = relocation.target else {
        return Err(CompileError::Backend(format!(
            "the code refers to {:?}",
            relocation.target
        )));
    };
    let name = &func.params.user_named_funcs()[name];
    let target = Symbol::from_external_name(name)
        .ok_or_else(|| CompileError::Backend(format!("the code refers to {name:?}")))?;
    Ok(Relocation {
        place: start + relocation.offset,
        kind: relocation.kind,
        target,
        addend: relocation.addend,
    })
}
