//! Stack maps of a compiled function.

use super::CraneliftError;
use crate::{Matching, ModuleStackMaps, RegisterError, StackMap};
use cranelift_codegen::ir::UserStackMap;
use cranelift_codegen::{Final, MachBufferFinalized};

/// Adds a compiled Wasm function and its stack maps to a module.
///
/// `text_offset` is where the function's code lies, in bytes from the start of the module's code.
/// Every call is declared, so that the module can match [strictly](crate::Matching::Strict).
/// Trampolines are not added; they are merely part of the module's code.
///
/// ```
/// # if cfg!(target_pointer_width = "32") {
/// #     return Ok(()); // Cranelift has no code generator for such a host.
/// # }
/// # use cranelift_codegen::{Context, control::ControlPlane, ir, settings::{self, Configurable}};
/// use vmexternref::{Matching, ModuleStackMaps, StackMapRegistry, cranelift};
///
/// # let mut flags = settings::builder();
/// # flags.set("preserve_frame_pointers", "true")?;
/// # let isa = cranelift_native::builder()?.finish(settings::Flags::new(flags))?;
/// # let mut context = Context::new();
/// # context.func.signature.call_conv = isa.default_call_conv();
/// # let block = context.func.dfg.make_block();
/// # context.func.layout.append_block(block);
/// # use cranelift_codegen::{cursor::{Cursor, FuncCursor}, ir::InstBuilder};
/// # FuncCursor::new(&mut context.func).at_bottom(block).ins().return_(&[]);
/// # let place = |code: &[u8]| code.as_ptr().addr();
/// let compiled = context.compile(&*isa, &mut ControlPlane::default()).map_err(|e| e.inner)?;
/// let code = compiled.buffer.data();
///
/// let mut module = ModuleStackMaps::new(compiled.buffer.total_size(), Matching::Strict);
/// cranelift::add_function(&mut module, 0, &compiled.buffer)?;
///
/// let registry = StackMapRegistry::new();
/// registry.register(place(code), module)?;
/// # assert!(registry.is_wasm(place(code) + 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`CraneliftError`]. Unless memory ran out, the module is then as it was.
pub fn add_function(
    module: &mut ModuleStackMaps,
    text_offset: u32,
    function: &MachBufferFinalized<Final>,
) -> Result<(), CraneliftError> {
    if module.matching() == Matching::NearestPreceding {
        return Err(RegisterError::NotReturnAddresses.into());
    }
    let end = text_offset
        .checked_add(function.total_size())
        .ok_or(CraneliftError::TooLarge)?;
    let maps = function.user_stack_maps().iter();
    let safepoints: Vec<_> = maps
        .map(|(offset, frame_bytes, map)| Ok((text_offset + offset, stack_map(*frame_bytes, map)?)))
        .collect::<Result<_, CraneliftError>>()?;
    module.function(text_offset..end)?;
    for call in function.call_sites() {
        module.return_address(text_offset + call.ret_addr)?;
    }
    for (offset, map) in safepoints {
        module.safepoint(offset, map)?;
    }
    Ok(())
}

fn stack_map(frame_bytes: u32, map: &UserStackMap) -> Result<StackMap, CraneliftError> {
    let pointer_bytes = size_of::<usize>();
    if let Some((ty, _)) = map
        .entries()
        .find(|(ty, _)| ty.bytes() as usize != pointer_bytes)
    {
        return Err(CraneliftError::EntryType(ty));
    }
    let offsets = map.entries().map(|(_, offset)| offset);
    Ok(StackMap::from_byte_offsets(Some(frame_bytes), offsets)?)
}

// Cranelift has no code generator for 32-bit hosts.
#[cfg(all(test, target_pointer_width = "64"))]
mod tests {
    use super::{CraneliftError, add_function};
    use crate::{
        Frame, GcOutcome, Matching, ModuleStackMaps, RecordedWalker, RegisterError,
        StackMapRegistry, VMExternRef, VMExternRefActivationsTable, WalkEnd, gc,
    };
    use cranelift_codegen::control::ControlPlane;
    use cranelift_codegen::ir::{AbiParam, InstBuilder, Signature, Type, types};
    use cranelift_codegen::settings::{self, Configurable};
    use cranelift_codegen::{CompiledCode, Context};
    use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};

    const WORD: usize = size_of::<usize>();
    const BASE: usize = 0x10_0000;

    /// Compiles a function of two references and two host functions' addresses.
    ///
    /// It calls the first host function, then the second with each of the references: both are live
    /// at the first call, one at the second, and none at the third.
    fn compile(reference: Type) -> CompiledCode {
        let mut flags = settings::builder();
        flags
            .set("preserve_frame_pointers", "true")
            .expect("a known setting");
        let isa = cranelift_native::builder().expect("a known host");
        let isa = isa
            .finish(settings::Flags::new(flags))
            .expect("settings that fit");

        let signature = |params: &[Type]| {
            let mut signature = Signature::new(isa.default_call_conv());
            let params = params.iter().copied().map(AbiParam::new);
            signature.params.extend(params);
            signature
        };
        let word = isa.pointer_type();
        let mut context = Context::new();
        context.func.signature = signature(&[reference, reference, word, word]);
        let mut builder_context = FunctionBuilderContext::new();
        let mut builder = FunctionBuilder::new(&mut context.func, &mut builder_context);
        let block = builder.create_block();
        builder.append_block_params_for_function_params(block);
        builder.switch_to_block(block);
        builder.seal_all_blocks();
        let &[first, second, collect, take] = builder.block_params(block) else {
            unreachable!("the signature has four parameters")
        };
        builder.declare_value_needs_stack_map(first);
        builder.declare_value_needs_stack_map(second);
        let of_nothing = builder.import_signature(signature(&[]));
        let of_reference = builder.import_signature(signature(&[reference]));
        builder.ins().call_indirect(of_nothing, collect, &[]);
        builder.ins().call_indirect(of_reference, take, &[first]);
        builder.ins().call_indirect(of_reference, take, &[second]);
        builder.ins().return_(&[]);
        builder.finalize(isa.frontend_config());
        let compiled = context.compile(&*isa, &mut ControlPlane::default());
        compiled.expect("it compiles").clone()
    }

    /// Collects with one frame on a made-up stack, every word of which is a reference, and returns
    /// the byte offsets of those that are kept.
    fn kept_at(registry: &StackMapRegistry, pc: usize, frame_bytes: u32) -> Vec<u32> {
        let words = frame_bytes as usize / WORD;
        let references: Vec<_> = (0..words).map(VMExternRef::new).collect();
        let table = VMExternRefActivationsTable::new();
        references
            .iter()
            .for_each(|reference| table.insert_without_gc(reference.clone()));
        let stack: Vec<usize> = references.iter().map(|held| held.as_raw().addr()).collect();

        let sp = stack.as_ptr().expose_provenance();
        // A wrong stack pointer, as after a tail call: the frame pointer is what counts.
        let frame = Frame::of_compiled_code(pc, Some(sp - WORD), Some(sp + words * WORD));
        // SAFETY: the frame is all there is of a stack, and each of its words is a reference.
        let report = unsafe {
            let walker = RecordedWalker::new(vec![frame], WalkEnd::Complete);
            gc(registry, &table, &walker)
        };
        assert_eq!((report.outcome, report.wasm_frames), (GcOutcome::Swept, 1));
        let kept = (0_u32..)
            .zip(&references)
            .filter(|(_, held)| held.strong_count() == 2);
        kept.map(|(word, _)| word * u32::try_from(WORD).expect("small"))
            .collect()
    }

    #[test]
    fn a_collection_keeps_what_cranelift_says_is_live() {
        let compiled = compile(types::I64);
        let text_offset = 0x40;
        let code_bytes = text_offset + compiled.buffer.total_size();
        let mut module = ModuleStackMaps::new(code_bytes, Matching::Strict);
        add_function(&mut module, text_offset, &compiled.buffer).expect("added");
        let registry = StackMapRegistry::new();
        registry.register(BASE, module).expect("registered");

        let maps = compiled.buffer.user_stack_maps();
        let live: Vec<usize> = maps
            .iter()
            .map(|(_, _, map)| map.entries().count())
            .collect();
        assert_eq!(live, [2, 1], "live references at each call");
        for (return_offset, frame_bytes, map) in maps {
            let pc = BASE + (text_offset + return_offset) as usize;
            let mut expected: Vec<u32> = map.entries().map(|(_, offset)| offset).collect();
            expected.sort_unstable();
            assert_eq!(kept_at(&registry, pc, *frame_bytes), expected);
        }
        assert!(
            !registry.is_wasm(BASE + 1),
            "what lies before the function is not part of it"
        );
    }

    #[test]
    fn every_call_is_declared_and_no_other_address() {
        let compiled = compile(types::I64);
        let code_bytes = compiled.buffer.total_size();
        let mut module = ModuleStackMaps::new(code_bytes, Matching::Strict);
        add_function(&mut module, 0, &compiled.buffer).expect("added");
        let registry = StackMapRegistry::new();
        registry.register(BASE, module).expect("registered");
        let calls: Vec<u32> = compiled
            .buffer
            .call_sites()
            .map(|call| call.ret_addr)
            .collect();
        assert_eq!(calls.len(), 3);
        let table = VMExternRefActivationsTable::new();
        let nothing = [0_usize; 64];
        let sp = nothing.as_ptr().expose_provenance();
        for offset in 1..=code_bytes {
            let pc = BASE + offset as usize;
            let frame = Frame::of_compiled_code(pc, Some(sp), None);
            // SAFETY: the frame is all there is of a stack, and each of its words is null.
            let report = unsafe {
                let walker = RecordedWalker::new(vec![frame], WalkEnd::Complete);
                gc(&registry, &table, &walker)
            };
            let expected = match calls.contains(&offset) {
                true => GcOutcome::Swept,
                false => GcOutcome::KeptUndeclared { pc },
            };
            assert_eq!(report.outcome, expected, "at {offset:#x}");
        }
    }

    #[test]
    fn values_that_are_no_pointers_are_refused() {
        let compiled = compile(types::I32);
        let mut module = ModuleStackMaps::new(compiled.buffer.total_size(), Matching::Exact);
        let refused = add_function(&mut module, 0, &compiled.buffer);
        assert_eq!(refused, Err(CraneliftError::EntryType(types::I32)));
    }

    #[test]
    fn a_module_must_match_return_addresses() {
        let compiled = compile(types::I64);
        let code_bytes = compiled.buffer.total_size();
        let mut module = ModuleStackMaps::new(code_bytes, Matching::NearestPreceding);
        let before = format!("{module:?}");
        let refused = add_function(&mut module, 0, &compiled.buffer);
        assert_eq!(refused, Err(RegisterError::NotReturnAddresses.into()));
        assert_eq!(format!("{module:?}"), before, "as it was");
    }

    #[test]
    fn a_function_must_lie_in_its_module() {
        let compiled = compile(types::I64);
        let code_bytes = compiled.buffer.total_size();
        let mut module = ModuleStackMaps::new(code_bytes, Matching::Exact);
        for (text_offset, expected) in [
            (1, CraneliftError::Register(RegisterError::OutsideCode)),
            (u32::MAX - code_bytes + 1, CraneliftError::TooLarge),
            (u32::MAX, CraneliftError::TooLarge),
        ] {
            let refused = add_function(&mut module, text_offset, &compiled.buffer);
            assert_eq!(refused, Err(expected), "at {text_offset:#x}");
        }
        assert_eq!(add_function(&mut module, 0, &compiled.buffer), Ok(()));
    }
}
