//! Blocks, branches and the end of a function.

use crate::error::CompileError;
use crate::translate::frame::{Frame, FrameKind};
use crate::translate::translator::Translator;
use crate::wasm::val_type;
use cranelift_codegen::ir::{Block, BlockArg, BlockCall, InstBuilder, JumpTableData, Value};
use vmexternref_engine_abi::{TrapCode, ValType};
use wasmparser::{BlockType, BrTable, Operator};

impl Translator<'_, '_> {
    /// Opens the frame of the function's body.
    pub(crate) fn push_function_frame(&mut self, results: &[ValType]) {
        self.push_frame(FrameKind::Function, 0, results);
    }

    /// Translates an instruction that decides where control goes.
    pub(crate) fn control(&mut self, operator: &Operator<'_>) -> Result<bool, CompileError> {
        match *operator {
            Operator::Block { blockty } => self.block(blockty)?,
            Operator::Loop { blockty } => self.loop_(blockty)?,
            Operator::If { blockty } => self.if_(blockty)?,
            Operator::Else => self.else_(),
            Operator::End => self.end(),
            Operator::Br { relative_depth } => self.branch(relative_depth),
            Operator::BrIf { relative_depth } => self.branch_if(relative_depth),
            Operator::BrTable { ref targets } => self.branch_table(targets)?,
            Operator::Return => self.return_(),
            Operator::Unreachable => {
                let trap = self.trap_block(TrapCode::Unreachable);
                self.ins().jump(trap, &[]);
                self.leave();
            }
            Operator::Call { function_index } => self.call(function_index)?,
            Operator::ReturnCall { function_index } => self.return_call(function_index)?,
            Operator::CallIndirect {
                type_index,
                table_index,
            } => self.call_indirect(type_index, table_index)?,
            Operator::ReturnCallIndirect {
                type_index,
                table_index,
            } => self.return_call_indirect(type_index, table_index)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Skips an instruction that control does not reach.
    pub(crate) fn skip(&mut self, operator: &Operator<'_>) {
        match operator {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => {
                self.skipped += 1;
            }
            Operator::Else if self.skipped == 0 => self.else_(),
            Operator::End if self.skipped == 0 => self.end(),
            Operator::End => self.skipped -= 1,
            _ => {}
        }
    }

    fn push_frame(&mut self, kind: FrameKind, params: usize, results: &[ValType]) {
        let next = self.emit.builder.create_block();
        for ty in results {
            self.append_param(next, *ty);
        }
        let branch_arity = match kind {
            FrameKind::Loop(_) => params,
            _ => results.len(),
        };
        self.frames.push(Frame {
            kind,
            next,
            next_reached: false,
            branch_arity,
            result_arity: results.len(),
            height: self.stack.len() - params,
        });
    }

    fn block_types(&self, ty: BlockType) -> Result<(Vec<ValType>, Vec<ValType>), CompileError> {
        Ok(match ty {
            BlockType::Empty => (Vec::new(), Vec::new()),
            BlockType::Type(result) => (Vec::new(), vec![val_type(result)?]),
            BlockType::FuncType(index) => {
                let ty = self.emit.env.metadata.ty(index)?;
                (ty.params.to_vec(), ty.results.to_vec())
            }
        })
    }

    fn block(&mut self, ty: BlockType) -> Result<(), CompileError> {
        let (params, results) = self.block_types(ty)?;
        self.push_frame(FrameKind::Block, params.len(), &results);
        Ok(())
    }

    fn loop_(&mut self, ty: BlockType) -> Result<(), CompileError> {
        let (params, results) = self.block_types(ty)?;
        let header = self.emit.builder.create_block();
        let args = self.pop_many(params.len());
        self.jump(header, &args);
        for ty in &params {
            let param = self.append_param(header, *ty);
            self.push(param);
        }
        self.push_frame(FrameKind::Loop(header), params.len(), &results);
        self.emit.builder.switch_to_block(header);
        if self.emit.env.zeal {
            self.collect();
        }
        Ok(())
    }

    fn if_(&mut self, ty: BlockType) -> Result<(), CompileError> {
        let (params, results) = self.block_types(ty)?;
        let condition = self.pop();
        let then = self.emit.builder.create_block();
        let otherwise = self.emit.builder.create_block();
        self.ins().brif(condition, then, &[], otherwise, &[]);
        self.emit.builder.seal_block(otherwise);
        self.emit.continue_in(then);
        let args = self.stack[self.stack.len() - params.len()..].to_vec();
        self.push_frame(FrameKind::If(otherwise, args), params.len(), &results);
        Ok(())
    }

    fn else_(&mut self) {
        self.fall_through();
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        let height = frame.height;
        if let FrameKind::If(otherwise, args) =
            core::mem::replace(&mut frame.kind, FrameKind::Block)
        {
            self.stack.truncate(height);
            self.stack.extend(args);
            self.emit.builder.switch_to_block(otherwise);
            self.reachable = true;
        }
    }

    fn end(&mut self) {
        self.fall_through();
        if matches!(self.top().kind, FrameKind::If(..)) {
            self.else_();
            self.fall_through();
        }
        let Some(frame) = self.frames.pop() else {
            return;
        };
        if let FrameKind::Loop(header) = frame.kind {
            self.emit.builder.seal_block(header);
        }
        self.stack.truncate(frame.height);
        self.reachable = frame.next_reached;
        if !frame.next_reached {
            return;
        }
        self.emit.continue_in(frame.next);
        let results = self.emit.builder.block_params(frame.next)[..frame.result_arity].to_vec();
        if matches!(frame.kind, FrameKind::Function) {
            self.ins().return_(&results);
        } else {
            self.stack.extend(results);
        }
    }

    fn top(&self) -> &Frame {
        self.frames.last().expect("a valid body closes its blocks")
    }

    /// Leaves the innermost frame with its results, if control reaches its end.
    fn fall_through(&mut self) {
        if !self.reachable {
            return;
        }
        let (next, arity) = (self.top().next, self.top().result_arity);
        let results = self.pop_many(arity);
        self.jump(next, &results);
        if let Some(frame) = self.frames.last_mut() {
            frame.next_reached = true;
        }
        self.leave();
    }

    fn jump(&mut self, block: Block, values: &[Value]) {
        let args = block_args(values);
        self.ins().jump(block, &args);
    }

    /// The target of a branch of that depth, and the number of operands it takes along.
    fn target(&mut self, depth: u32) -> (Block, usize) {
        let index = self.frames.len() - 1 - depth as usize;
        let frame = &mut self.frames[index];
        if let FrameKind::Loop(header) = frame.kind {
            (header, frame.branch_arity)
        } else {
            frame.next_reached = true;
            (frame.next, frame.branch_arity)
        }
    }

    fn branch(&mut self, depth: u32) {
        let (block, arity) = self.target(depth);
        let values = self.pop_many(arity);
        self.jump(block, &values);
        self.leave();
    }

    fn branch_if(&mut self, depth: u32) {
        let condition = self.pop();
        let (block, arity) = self.target(depth);
        let args = block_args(&self.stack[self.stack.len() - arity..]);
        let next = self.emit.builder.create_block();
        self.ins().brif(condition, block, &args, next, &[]);
        self.emit.continue_in(next);
    }

    fn branch_table(&mut self, targets: &BrTable<'_>) -> Result<(), CompileError> {
        let index = self.pop();
        let (default, arity) = self.target(targets.default());
        let values = self.pop_many(arity);
        let mut blocks = vec![default];
        for depth in targets.targets() {
            blocks.push(self.target(depth?).0);
        }
        let args = block_args(&values);
        let pool = &mut self.emit.builder.func.dfg.value_lists;
        let calls: Vec<BlockCall> = blocks
            .into_iter()
            .map(|block| BlockCall::new(block, args.iter().copied(), pool))
            .collect();
        let table = JumpTableData::new(calls[0], &calls[1..]);
        let table = self.emit.builder.create_jump_table(table);
        self.ins().br_table(index, table);
        self.leave();
        Ok(())
    }

    fn return_(&mut self) {
        let arity = self.frames[0].result_arity;
        let results = self.pop_many(arity);
        self.ins().return_(&results);
        self.leave();
    }
}

fn block_args(values: &[Value]) -> Vec<BlockArg> {
    values.iter().copied().map(BlockArg::Value).collect()
}
