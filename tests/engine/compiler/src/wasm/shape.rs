//! The number of operands of each instruction, in a module that may be invalid.

use wasmparser::{
    BlockType, CompositeInnerType, ContType, FrameKind, FuncType, ModuleArity, Operator, RefType,
    SubType, ValType,
};

/// The types of a module, and the blocks around an instruction of it.
#[derive(Default)]
pub(crate) struct Shape {
    /// The types.
    pub(crate) types: Vec<SubType>,
    /// The type index of each function, the imported ones first.
    pub(crate) functions: Vec<u32>,
    /// The number of imported functions.
    pub(crate) imported: usize,
    /// The blocks around the current instruction, the function's own first.
    frames: Vec<ShapeFrame>,
    /// The number of operands on the stack.
    height: u64,
}

struct ShapeFrame {
    ty: BlockType,
    kind: FrameKind,
    /// The number of operands below its own.
    height: u64,
}

impl Shape {
    /// Starts a body of that type.
    pub(crate) fn start(&mut self, ty: u32) {
        self.height = 0;
        self.frames.clear();
        self.frames.push(ShapeFrame {
            ty: BlockType::FuncType(ty),
            kind: FrameKind::Block,
            height: 0,
        });
    }

    /// The number of blocks around the current instruction.
    pub(crate) fn depth(&self) -> u64 {
        self.frames.len().saturating_sub(1) as u64
    }

    /// The number of operands on the stack.
    pub(crate) const fn height(&self) -> u64 {
        self.height
    }

    /// The numbers of parameters and results; of no function, none.
    pub(crate) fn arity_of_type(&self, ty: u32) -> (u64, u64) {
        let arity = self.sub_type_at(ty).and_then(|ty| self.sub_type_arity(ty));
        arity.map_or((0, 0), |(params, results)| (params.into(), results.into()))
    }

    /// The parameters of a function type.
    pub(crate) fn params(&self, ty: u32) -> &[ValType] {
        match self.sub_type_at(ty).map(|ty| &ty.composite_type.inner) {
            Some(CompositeInnerType::Func(ty)) => ty.params(),
            _ => &[],
        }
    }

    /// Carries out the effect of `operator` on the stack. Returns what it costs.
    pub(crate) fn step(&mut self, operator: &Operator<'_>) -> u64 {
        let arity = operator.operator_arity(self).unwrap_or_default();
        let (taken, left) = (u64::from(arity.0), u64::from(arity.1));
        let floor = self.frames.last().map_or(0, |frame| frame.height);
        self.height = self.height.saturating_sub(taken).max(floor) + left;
        match *operator {
            Operator::Block { blockty } => self.open(blockty, FrameKind::Block, left),
            Operator::Loop { blockty } => self.open(blockty, FrameKind::Loop, left),
            Operator::If { blockty } => self.open(blockty, FrameKind::If, left),
            Operator::Else => self.height = floor + left,
            Operator::End => {
                self.height = floor + left;
                self.frames.pop();
            }
            Operator::Br { .. }
            | Operator::Return
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::Unreachable => self.height = floor,
            Operator::BrTable { ref targets } => {
                self.height = floor;
                return 1 + taken * (1 + u64::from(targets.len()));
            }
            Operator::TableGet { .. } | Operator::TableSet { .. } => return 17 + taken + left,
            Operator::GlobalGet { .. } | Operator::GlobalSet { .. } => return 9 + taken + left,
            _ => {}
        }
        1 + taken + left
    }

    fn open(&mut self, ty: BlockType, kind: FrameKind, params: u64) {
        let height = self.height.saturating_sub(params);
        self.frames.push(ShapeFrame { ty, kind, height });
    }
}

impl ModuleArity for Shape {
    fn sub_type_at(&self, index: u32) -> Option<&SubType> {
        self.types.get(index as usize)
    }

    fn tag_type_arity(&self, _: u32) -> Option<(u32, u32)> {
        None
    }

    fn type_index_of_function(&self, index: u32) -> Option<u32> {
        self.functions.get(index as usize).copied()
    }

    fn func_type_of_cont_type(&self, _: &ContType) -> Option<&FuncType> {
        None
    }

    fn sub_type_of_ref_type(&self, _: &RefType) -> Option<&SubType> {
        None
    }

    fn control_stack_height(&self) -> u32 {
        u32::try_from(self.frames.len()).unwrap_or(u32::MAX)
    }

    fn label_block(&self, depth: u32) -> Option<(BlockType, FrameKind)> {
        let index = self.frames.len().checked_sub(1 + depth as usize)?;
        let frame = self.frames.get(index)?;
        Some((frame.ty, frame.kind))
    }
}
