//! Traps: cold blocks that call the runtime.

use crate::emit::Emitter;
use cranelift_codegen::ir::{Block, Value, types};
use vmexternref_engine_abi::{Builtin, TrapCode};

/// The blocks of one function that raise traps.
#[derive(Default)]
pub(crate) struct Traps {
    /// One block per code.
    fixed: Vec<(TrapCode, Block)>,
    /// A block that raises the code that it gets as its parameter.
    any: Option<Block>,
}

impl Traps {
    /// The block that raises `code`.
    pub(crate) fn block(&mut self, emit: &mut Emitter<'_, '_>, code: TrapCode) -> Block {
        let known = self.fixed.iter().find(|(known, _)| *known == code);
        if let Some((_, block)) = known {
            return *block;
        }
        let block = emit.builder.create_block();
        emit.builder.set_cold_block(block);
        self.fixed.push((code, block));
        block
    }

    /// The block that raises the code that it gets as its parameter.
    pub(crate) fn block_of_any(&mut self, emit: &mut Emitter<'_, '_>) -> Block {
        *self.any.get_or_insert_with(|| {
            let block = emit.builder.create_block();
            emit.builder.append_block_param(block, types::I32);
            emit.builder.set_cold_block(block);
            block
        })
    }

    /// Fills all blocks, at the end of the function.
    pub(crate) fn fill(self, emit: &mut Emitter<'_, '_>, vmctx: Value) {
        for (code, block) in self.fixed {
            emit.builder.switch_to_block(block);
            let number = emit.constant(code.number());
            raise(emit, vmctx, number);
        }
        if let Some(block) = self.any {
            emit.builder.switch_to_block(block);
            let number = emit.builder.block_params(block)[0];
            raise(emit, vmctx, number);
        }
    }
}

fn raise(emit: &mut Emitter<'_, '_>, vmctx: Value, number: Value) {
    emit.call_builtin(Builtin::Raise, &[vmctx, number]);
    emit.unreachable();
}
