//! Makes programs from bytes.

use crate::program::{
    ELEMENTS, Function, GLOBALS, MOST_ELEMENTS, Op, Program, Repeat, Signature, TABLES, Type,
};
use arbitrary::{Result, Unstructured};
use core::mem;
use core::ops::RangeInclusive;

/// Instructions of a function at most, except those that end its blocks.
const LONGEST: u32 = 60;

/// Values of values, and blocks in blocks.
const DEEPEST: usize = 4;

impl Program {
    /// The program that the bytes describe.
    pub(crate) fn generate(u: &mut Unstructured<'_>) -> Result<Self> {
        let count = u.int_in_range(2..=7)?;
        let mut module = 0;
        let mut modules = Vec::new();
        let mut signatures = Vec::new();
        for index in 0..count {
            module += usize::from(index > 0 && module < 2 && u.ratio(1, 3)?);
            modules.push(module);
            signatures.push(match index + 1 == count {
                true => Signature::default(),
                false => signature(u)?,
            });
        }
        let mut functions = Vec::new();
        for (index, module) in modules.into_iter().enumerate() {
            functions.push(Generator::new(u, &signatures, index)?.function(module)?);
        }
        Ok(Self { functions })
    }
}

fn types(u: &mut Unstructured<'_>, len: RangeInclusive<usize>) -> Result<Vec<Type>> {
    let len = u.int_in_range(len)?;
    (0..len)
        .map(|_| u.choose(&[Type::Ref, Type::Ref, Type::Num]).copied())
        .collect()
}

fn signature(u: &mut Unstructured<'_>) -> Result<Signature> {
    let results = match u.int_in_range(0..=7)? {
        0 | 1 => Vec::new(),
        2..=4 => vec![Type::Ref],
        5 => vec![Type::Ref, Type::Ref],
        6 => vec![Type::Ref; 12],
        _ => types(u, 1..=4)?,
    };
    let params = match u.int_in_range(0..=5)? {
        0 | 1 => Vec::new(),
        2 => vec![Type::Ref, Type::Ref],
        // Beyond the registers of every machine.
        3 => types(u, 9..=14)?,
        _ => types(u, 1..=4)?,
    };
    Ok(Signature { params, results })
}

/// Makes one function.
struct Generator<'g, 'u> {
    u: &'g mut Unstructured<'u>,
    signatures: &'g [Signature],
    index: usize,
    locals: Vec<Type>,
    /// The locals in which loops count.
    counters: Vec<u32>,
    /// What a branch to each open block takes along; nothing may branch to a loop.
    labels: Vec<Option<Vec<Type>>>,
    stack: Vec<Type>,
    /// The height of the stack where the innermost block began.
    base: usize,
    ops: Vec<Op>,
    left: u32,
    depth: usize,
}

impl<'g, 'u> Generator<'g, 'u> {
    fn new(u: &'g mut Unstructured<'u>, signatures: &'g [Signature], index: usize) -> Result<Self> {
        let mut locals = signatures[index].params.clone();
        let wide = u.ratio(1, 8)?;
        locals.extend(types(u, if wide { 30..=60 } else { 1..=6 })?);
        Ok(Self {
            u,
            signatures,
            index,
            locals,
            counters: Vec::new(),
            labels: Vec::new(),
            stack: Vec::new(),
            base: 0,
            ops: Vec::new(),
            left: LONGEST,
            depth: 0,
        })
    }

    fn function(mut self, module: usize) -> Result<Function> {
        let signature = self.signatures[self.index].clone();
        let references: Vec<u32> = self.locals_of(Type::Ref);
        let all_live = self.u.ratio(1, 3)?;
        self.labels.push(Some(signature.results.clone()));
        if all_live {
            for &local in references.iter().skip(signature.params.len()) {
                self.ops.push(Op::New);
                self.ops.push(Op::Set(local));
            }
        }
        self.statements()?;
        if all_live {
            for local in references {
                self.ops.extend([Op::Get(local), Op::See]);
            }
        }
        self.leave(&signature.results, true)?;
        Ok(Function {
            module,
            signature,
            locals: self.locals,
            body: self.ops,
        })
    }

    fn locals_of(&self, ty: Type) -> Vec<u32> {
        let numbered = (0..).zip(&self.locals);
        let of_type =
            numbered.filter(|(local, other)| **other == ty && !self.counters.contains(local));
        of_type.map(|(local, _)| local).collect()
    }

    fn number(&mut self, numbers: RangeInclusive<u32>) -> Result<u32> {
        self.u.int_in_range(numbers)
    }

    fn push_number(&mut self, number: u32) {
        self.ops.push(Op::Num(number.cast_signed()));
        self.stack.push(Type::Num);
    }

    /// Adds an instruction that pops and pushes so much.
    fn add(&mut self, op: Op, pops: usize, pushes: &[Type]) {
        self.stack.truncate(self.stack.len() - pops);
        self.stack.extend(pushes);
        self.ops.push(op);
    }

    fn values(&mut self, types: &[Type]) -> Result<()> {
        types.iter().try_for_each(|ty| self.value(*ty))
    }

    /// Pushes a value.
    fn value(&mut self, ty: Type) -> Result<()> {
        self.depth += 1;
        let made = match ty {
            Type::Ref => self.reference(),
            Type::Num => self.condition(),
        };
        self.depth -= 1;
        made
    }

    fn reference(&mut self) -> Result<()> {
        const REF: &[Type] = &[Type::Ref];
        let most = if self.depth > DEEPEST || self.left == 0 {
            7
        } else {
            12
        };
        self.left = self.left.saturating_sub(1);
        match self.number(0..=most)? {
            0 => self.add(Op::Null, 0, REF),
            1..=3 => self.add(Op::New, 0, REF),
            4 | 5 => match *self.locals_of(Type::Ref) {
                [] => self.add(Op::New, 0, REF),
                ref locals => {
                    let local = *self.u.choose(locals)?;
                    self.add(Op::Get(local), 0, REF);
                }
            },
            6 => {
                let global = self.number(0..=GLOBALS - 1)?;
                self.add(Op::GlobalGet(global), 0, REF);
            }
            7 => {
                self.element()?;
                let table = self.table()?;
                self.add(Op::TableGet(table), 1, REF);
            }
            8 => match self.callee(|signature| signature.results == [Type::Ref])? {
                Some(callee) => self.call(callee)?,
                None => self.add(Op::New, 0, REF),
            },
            9 => {
                self.values(&[Type::Ref, Type::Ref, Type::Num])?;
                self.add(Op::Select(Type::Ref), 3, REF);
            }
            10 => self.either(0, REF)?,
            11 => {
                let two = [Type::Ref, Type::Ref];
                let fits = |signature: &Signature| {
                    signature.params == two && signature.results == [Type::Ref]
                };
                match self.callee(fits)? {
                    Some(callee) => {
                        self.values(&two)?;
                        self.add(Op::CallWith(callee), 2, REF);
                    }
                    None => self.add(Op::New, 0, REF),
                }
            }
            _ => self.block(0, REF)?,
        }
        Ok(())
    }

    fn condition(&mut self) -> Result<()> {
        const NUM: &[Type] = &[Type::Num];
        let most = if self.depth > DEEPEST || self.left == 0 {
            2
        } else {
            5
        };
        match self.number(0..=most)? {
            0 | 1 => {
                let number = self.number(0..=3)?;
                self.push_number(number);
            }
            2 => match *self.locals_of(Type::Num) {
                [] => self.push_number(1),
                ref locals => {
                    let local = *self.u.choose(locals)?;
                    self.add(Op::Get(local), 0, NUM);
                }
            },
            3 | 4 => {
                self.value(Type::Ref)?;
                self.add(Op::IsNull, 1, NUM);
            }
            _ => {
                self.values(&[Type::Ref, Type::Ref])?;
                self.add(Op::Same, 2, NUM);
            }
        }
        Ok(())
    }

    fn table(&mut self) -> Result<u32> {
        self.number(0..=TABLES - 1)
    }

    /// Pushes the index of an element, rarely one that is not there.
    fn element(&mut self) -> Result<()> {
        let most = match self.u.ratio(1, 40)? {
            true => MOST_ELEMENTS + 1,
            false => ELEMENTS - 1,
        };
        let index = self.number(0..=most)?;
        self.push_number(index);
        Ok(())
    }

    /// A function below this one, so that calls end.
    fn callee(&mut self, fits: impl Fn(&Signature) -> bool) -> Result<Option<usize>> {
        let fitting = (0..self.index).filter(|&callee| fits(&self.signatures[callee]));
        let fitting: Vec<usize> = fitting.collect();
        match &*fitting {
            [] => Ok(None),
            callees => self.u.choose(callees).copied().map(Some),
        }
    }

    fn call(&mut self, callee: usize) -> Result<()> {
        let Signature { params, results } = self.signatures[callee].clone();
        self.values(&params)?;
        if self.u.ratio(1, 3)? {
            self.function_index(callee)?;
            self.add(Op::CallIndirect(callee), params.len() + 1, &results);
        } else {
            self.add(Op::Call(callee), params.len(), &results);
        }
        Ok(())
    }

    /// Pushes the index of `callee`, or rarely any other: of a function above, of none.
    fn function_index(&mut self, callee: usize) -> Result<()> {
        let index = match self.u.ratio(1, 20)? {
            true => self.u.int_in_range(0..=self.signatures.len() + 1)?,
            false => callee,
        };
        self.push_number(u32::try_from(index).expect("a few functions"));
        Ok(())
    }

    /// Pops the operand on top.
    fn consume(&mut self) -> Result<()> {
        let Some(&top) = self.stack.last() else {
            return Ok(());
        };
        let locals = self.locals_of(top);
        let op = match (self.number(0..=4)?, top) {
            (0, _) => Op::Drop,
            (1, _) if !locals.is_empty() => Op::Set(*self.u.choose(&locals)?),
            (2, Type::Ref) => Op::GlobalSet(self.number(0..=GLOBALS - 1)?),
            (_, Type::Ref) => Op::See,
            (_, Type::Num) => Op::SeeNum,
        };
        self.add(op, 1, &[]);
        Ok(())
    }

    fn waiting(&self) -> usize {
        self.stack.len() - self.base
    }

    /// Some operands of this block, to become the parameters of another.
    fn some_waiting(&mut self) -> Result<usize> {
        let most = self.waiting().min(3);
        self.u.int_in_range(0..=most)
    }

    fn statements(&mut self) -> Result<()> {
        while self.left > 0 && !self.u.is_empty() && !self.u.ratio(1, 12)? {
            self.left -= 1;
            self.statement()?;
        }
        Ok(())
    }

    fn statement(&mut self) -> Result<()> {
        let most = if self.depth > DEEPEST { 10 } else { 16 };
        match self.number(0..=most)? {
            0 | 1 => self.add(Op::Collect, 0, &[]),
            2 | 3 if self.waiting() < 12 => self.value(Type::Ref)?,
            2..=4 if self.waiting() > 0 => self.consume()?,
            5 => {
                self.value(Type::Ref)?;
                self.add(Op::See, 1, &[]);
            }
            2..=6 => {
                let ty = *self.u.choose(&[Type::Ref, Type::Ref, Type::Num])?;
                self.value(ty)?;
                match *self.locals_of(ty) {
                    [] => self.add(Op::Drop, 1, &[]),
                    ref locals => {
                        let local = *self.u.choose(locals)?;
                        match self.u.ratio(1, 3)? {
                            true => self.add(Op::Tee(local), 1, &[ty]),
                            false => self.add(Op::Set(local), 1, &[]),
                        }
                    }
                }
            }
            7 => {
                self.value(Type::Ref)?;
                let global = self.number(0..=GLOBALS - 1)?;
                self.add(Op::GlobalSet(global), 1, &[]);
            }
            8 => {
                self.element()?;
                self.value(Type::Ref)?;
                let table = self.table()?;
                self.add(Op::TableSet(table), 2, &[]);
            }
            9 => self.bulk()?,
            10 => self.branch_if()?,
            11 | 12 => {
                if let Some(callee) = self.callee(|_| true)? {
                    self.call(callee)?;
                }
            }
            13 => {
                if let Some(callee) = self.callee(|signature| *signature == Signature::default())? {
                    self.add(Op::Try(callee), 0, &[Type::Num]);
                }
            }
            14 => {
                let (params, results) = (self.some_waiting()?, types(self.u, 0..=3)?);
                self.block(params, &results)?;
            }
            15 => {
                let (params, results) = (self.some_waiting()?, types(self.u, 0..=3)?);
                self.either(params, &results)?;
            }
            _ => {
                let params = self.some_waiting()?;
                self.repeat(params)?;
            }
        }
        Ok(())
    }

    fn bulk(&mut self) -> Result<()> {
        let table = self.table()?;
        match self.number(0..=2)? {
            0 => {
                self.value(Type::Ref)?;
                let by = self.number(0..=2)?;
                self.push_number(by);
                self.add(Op::TableGrow(table), 2, &[Type::Num]);
            }
            1 => {
                self.element()?;
                self.value(Type::Ref)?;
                let count = self.number(0..=2)?;
                self.push_number(count);
                self.add(Op::TableFill(table), 3, &[]);
            }
            _ => {
                self.element()?;
                self.element()?;
                let (count, from) = (self.number(0..=3)?, self.table()?);
                self.push_number(count);
                self.add(Op::TableCopy(table, from), 3, &[]);
            }
        }
        Ok(())
    }

    /// A depth to branch to, and what the branch takes along.
    fn label(&mut self) -> Result<Option<(u32, Vec<Type>)>> {
        let labels = (0..).zip(self.labels.iter().rev());
        let labels = labels.filter_map(|(depth, label)| Some((depth, label.clone()?)));
        let labels: Vec<_> = labels.collect();
        match &*labels {
            [] => Ok(None),
            labels => self.u.choose(labels).cloned().map(Some),
        }
    }

    fn branch_if(&mut self) -> Result<()> {
        if let Some((depth, types)) = self.label()? {
            self.values(&types)?;
            self.value(Type::Num)?;
            self.add(Op::BrIf(depth), 1, &[]);
        }
        Ok(())
    }

    /// The instructions of a block that takes so many operands.
    fn body(&mut self, params: usize, results: &[Type], label: Option<&[Type]>) -> Result<Vec<Op>> {
        let outer = (mem::take(&mut self.ops), self.base, self.stack.clone());
        self.base = self.stack.len() - params;
        self.labels.push(label.map(<[Type]>::to_vec));
        self.depth += 1;
        self.statements()?;
        self.leave(results, label.is_some())?;
        self.depth -= 1;
        self.labels.pop();
        (self.base, self.stack) = (outer.1, outer.2);
        Ok(mem::replace(&mut self.ops, outer.0))
    }

    fn top(&self, count: usize) -> Vec<Type> {
        self.stack[self.stack.len() - count..].to_vec()
    }

    fn block(&mut self, params: usize, results: &[Type]) -> Result<()> {
        let signature = self.signature(params, results);
        let body = self.body(params, results, Some(results))?;
        self.add(Op::Block(signature, body), params, results);
        Ok(())
    }

    fn either(&mut self, params: usize, results: &[Type]) -> Result<()> {
        let signature = self.signature(params, results);
        self.value(Type::Num)?;
        self.stack.pop();
        let then = self.body(params, results, Some(results))?;
        let otherwise = self.body(params, results, Some(results))?;
        self.add(Op::If(signature, then, otherwise), params, results);
        Ok(())
    }

    fn repeat(&mut self, params: usize) -> Result<()> {
        let types = self.top(params);
        let counter = u32::try_from(self.locals.len()).expect("a few locals");
        self.locals.push(Type::Num);
        self.counters.push(counter);
        let times = self.u.int_in_range(1..=3)?;
        let body = self.body(params, &types, None)?;
        let repeat = Repeat { times, counter };
        let signature = self.signature(params, &types);
        self.add(Op::Loop(repeat, signature, body), params, &types);
        Ok(())
    }

    fn signature(&self, params: usize, results: &[Type]) -> Signature {
        Signature {
            params: self.top(params),
            results: results.to_vec(),
        }
    }

    /// Ends a block: at its end, or before.
    fn leave(&mut self, results: &[Type], may_branch: bool) -> Result<()> {
        if !self.u.is_empty() && self.u.ratio(1, 4)? && self.leave_early()? {
            return Ok(());
        }
        let with_operands = may_branch && self.u.ratio(1, 2)?;
        if !with_operands {
            while self.waiting() > 0 {
                self.consume()?;
            }
        }
        self.values(results)?;
        if self.waiting() > results.len() {
            self.add(Op::Br(0), 0, &[]);
        }
        Ok(())
    }

    /// Ends a block by an instruction that goes elsewhere, if there is one.
    fn leave_early(&mut self) -> Result<bool> {
        let results = self.signatures[self.index].results.clone();
        match self.number(0..=9)? {
            0 => {
                self.values(&results)?;
                self.add(Op::Return, 0, &[]);
            }
            1 if self.u.ratio(1, 4)? => self.add(Op::Unreachable, 0, &[]),
            1 | 2 => match self.label()? {
                None => return Ok(false),
                Some((depth, types)) => {
                    self.values(&types)?;
                    self.add(Op::Br(depth), 0, &[]);
                }
            },
            3..=5 => match self.label()? {
                None => return Ok(false),
                Some((default, types)) => {
                    let alike = (0..).zip(self.labels.iter().rev());
                    let alike = alike.filter(|(_, label)| label.as_ref() == Some(&types));
                    let depths = alike.map(|(depth, _)| depth).collect();
                    self.values(&types)?;
                    self.value(Type::Num)?;
                    self.add(Op::BrTable(depths, default), 1, &[]);
                }
            },
            _ => match self.callee(|signature| signature.results == results)? {
                None => return Ok(false),
                Some(callee) => {
                    let params = self.signatures[callee].params.clone();
                    self.values(&params)?;
                    if self.u.ratio(1, 3)? {
                        self.function_index(callee)?;
                        self.add(Op::ReturnCallIndirect(callee), 0, &[]);
                    } else {
                        self.add(Op::ReturnCall(callee), 0, &[]);
                    }
                }
            },
        }
        Ok(true)
    }
}
