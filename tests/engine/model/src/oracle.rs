//! Interprets programs with books of which object each value is.

use crate::program::{ELEMENTS, GLOBALS, MOST_ELEMENTS, Op, Program, Signature, TABLES, Type};
use core::iter;
use core::ops::RangeInclusive;
use std::collections::BTreeSet;
use vmexternref_engine_runtime::TrapCode;

/// Instructions of a run at most.
const LONGEST: u32 = 20_000;

/// Calls in calls at most.
const DEEPEST: usize = 60;

/// An object, by the order in which they were made, or null.
pub(crate) type Object = Option<u64>;

/// What the host hears of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The guest showed an object.
    Saw(Object),
    /// The guest showed a number.
    Number(i32),
    /// So many objects may be left after a collection: at least those of tables and globals, and at
    /// most those that some local or operand holds as well.
    Collected(RangeInclusive<u64>),
}

/// What a run has to come to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) events: Vec<Event>,
    pub(crate) trap: Option<TrapCode>,
    /// How many objects were made.
    pub(crate) made: u64,
    pub(crate) globals: Vec<Object>,
    pub(crate) tables: Vec<Vec<Object>>,
}

impl Outcome {
    /// What the program does, unless that takes too long.
    pub(crate) fn of(program: &Program) -> Option<Self> {
        let mut machine = Machine {
            program,
            outcome: Self {
                events: Vec::new(),
                trap: None,
                made: 0,
                globals: vec![None; GLOBALS as usize],
                tables: vec![vec![None; ELEMENTS as usize]; TABLES as usize],
            },
            frames: Vec::new(),
            left: LONGEST,
        };
        match machine.call(program.functions.len() - 1, Vec::new()) {
            Ok(_) => {}
            Err(Stop::Trap(code)) => machine.outcome.trap = Some(code),
            Err(Stop::TooLong) => return None,
        }
        Some(machine.outcome)
    }

    /// The objects that tables and globals hold.
    pub(crate) fn stored(&self) -> BTreeSet<u64> {
        let tables = self.tables.iter().flatten();
        tables.chain(&self.globals).flatten().copied().collect()
    }
}

#[derive(Clone, Copy, Debug)]
enum Value {
    Num(i32),
    Ref(Object),
}

/// What a function, or the host during a call, holds.
struct Frame {
    locals: Vec<Value>,
    stack: Vec<Value>,
}

/// Where control goes.
enum Flow {
    Next,
    Branch(u32),
    Return,
    ReturnCall(usize, Vec<Value>),
}

enum Stop {
    Trap(TrapCode),
    TooLong,
}

struct Machine<'p> {
    program: &'p Program,
    outcome: Outcome,
    frames: Vec<Frame>,
    left: u32,
}

impl Machine<'_> {
    fn frame(&mut self) -> &mut Frame {
        self.frames.last_mut().expect("a function runs")
    }

    fn stack(&mut self) -> &mut Vec<Value> {
        &mut self.frame().stack
    }

    fn push(&mut self, value: Value) {
        self.stack().push(value);
    }

    fn pop(&mut self) -> Value {
        self.stack().pop().expect("programs are well typed")
    }

    fn pop_many(&mut self, count: usize) -> Vec<Value> {
        let stack = self.stack();
        stack.split_off(stack.len() - count)
    }

    fn pop_num(&mut self) -> i32 {
        match self.pop() {
            Value::Num(number) => number,
            Value::Ref(_) => unreachable!("programs are well typed"),
        }
    }

    fn pop_index(&mut self) -> usize {
        self.pop_num().cast_unsigned() as usize
    }

    fn pop_ref(&mut self) -> Object {
        match self.pop() {
            Value::Ref(object) => object,
            Value::Num(_) => unreachable!("programs are well typed"),
        }
    }

    /// Calls a function, and those that it calls in its place.
    fn call(&mut self, mut function: usize, mut args: Vec<Value>) -> Result<Vec<Value>, Stop> {
        let program = self.program;
        loop {
            if self.frames.len() > DEEPEST {
                return Err(Stop::TooLong);
            }
            let callee = &program.functions[function];
            let others = &callee.locals[args.len()..];
            args.extend(others.iter().map(|ty| match ty {
                Type::Num => Value::Num(0),
                Type::Ref => Value::Ref(None),
            }));
            let stack = Vec::new();
            self.frames.push(Frame {
                locals: args,
                stack,
            });
            let flow = self.run(&callee.body);
            let frame = self.frames.pop().expect("it was pushed above");
            match flow? {
                Flow::ReturnCall(next, its) => (function, args) = (next, its),
                Flow::Next | Flow::Branch(_) | Flow::Return => {
                    let mut stack = frame.stack;
                    let results = callee.signature.results.len();
                    return Ok(stack.split_off(stack.len() - results));
                }
            }
        }
    }

    fn call_here(&mut self, function: usize) -> Result<(), Stop> {
        let args = self.args(function);
        let results = self.call(function, args)?;
        self.stack().extend(results);
        Ok(())
    }

    fn args(&mut self, function: usize) -> Vec<Value> {
        self.pop_many(self.program.functions[function].signature.params.len())
    }

    fn run(&mut self, ops: &[Op]) -> Result<Flow, Stop> {
        for op in ops {
            self.left = self.left.checked_sub(1).ok_or(Stop::TooLong)?;
            match self.step(op)? {
                Flow::Next => {}
                elsewhere => return Ok(elsewhere),
            }
        }
        Ok(Flow::Next)
    }

    /// Runs the body of a block, and ends the branches to its end.
    fn block(&mut self, signature: &Signature, body: &[Op]) -> Result<Flow, Stop> {
        let height = self.stack().len() - signature.params.len();
        Ok(match self.run(body)? {
            Flow::Branch(0) => {
                let results = self.pop_many(signature.results.len());
                self.stack().truncate(height);
                self.stack().extend(results);
                Flow::Next
            }
            Flow::Branch(depth) => Flow::Branch(depth - 1),
            flow => flow,
        })
    }

    fn step(&mut self, op: &Op) -> Result<Flow, Stop> {
        match op {
            Op::Null => self.push(Value::Ref(None)),
            Op::Num(number) => self.push(Value::Num(*number)),
            Op::New => {
                let object = self.outcome.made;
                self.outcome.made += 1;
                self.push(Value::Ref(Some(object)));
            }
            Op::See => {
                let object = self.pop_ref();
                self.outcome.events.push(Event::Saw(object));
            }
            Op::SeeNum => {
                let number = self.pop_num();
                self.outcome.events.push(Event::Number(number));
            }
            Op::Collect => self.collect(),
            Op::Get(local) => {
                let value = self.frame().locals[*local as usize];
                self.push(value);
            }
            Op::Set(local) => self.frame().locals[*local as usize] = self.pop(),
            Op::Tee(local) => {
                let value = self.pop();
                self.frame().locals[*local as usize] = value;
                self.push(value);
            }
            Op::GlobalGet(global) => {
                let object = self.outcome.globals[*global as usize];
                self.push(Value::Ref(object));
            }
            Op::GlobalSet(global) => self.outcome.globals[*global as usize] = self.pop_ref(),
            Op::TableGet(_)
            | Op::TableSet(_)
            | Op::TableGrow(_)
            | Op::TableFill(_)
            | Op::TableCopy(..) => self.table(op)?,
            Op::Drop => drop(self.pop()),
            Op::IsNull => {
                let is_null = self.pop_ref().is_none();
                self.push(Value::Num(is_null.into()));
            }
            Op::Same => {
                let same = self.pop_ref() == self.pop_ref();
                self.push(Value::Num(same.into()));
            }
            Op::Select(_) => {
                let (condition, second, first) = (self.pop_num(), self.pop(), self.pop());
                self.push(if condition == 0 { second } else { first });
            }
            _ => return self.control(op),
        }
        Ok(Flow::Next)
    }

    fn control(&mut self, op: &Op) -> Result<Flow, Stop> {
        match op {
            Op::Call(function) => self.call_here(*function)?,
            Op::CallIndirect(like) => {
                let function = self.element_function(*like)?;
                self.call_here(function)?;
            }
            Op::ReturnCall(function) => {
                let args = self.args(*function);
                return Ok(Flow::ReturnCall(*function, args));
            }
            Op::ReturnCallIndirect(like) => {
                let function = self.element_function(*like)?;
                let args = self.args(function);
                return Ok(Flow::ReturnCall(function, args));
            }
            Op::CallWith(function) => {
                let args = self.args(*function);
                let (locals, stack) = (args.clone(), Vec::new());
                self.frames.push(Frame { locals, stack });
                let called = self.call(*function, args);
                self.frames.pop();
                self.stack().extend(called?);
            }
            Op::Try(function) => {
                let depth = self.frames.len();
                let code = match self.call(*function, Vec::new()) {
                    Ok(_) => 0,
                    Err(Stop::Trap(code)) => code.number().cast_signed(),
                    Err(Stop::TooLong) => return Err(Stop::TooLong),
                };
                self.frames.truncate(depth);
                self.push(Value::Num(code));
            }
            Op::Block(signature, body) => return self.block(signature, body),
            Op::If(signature, then, otherwise) => {
                let body = if self.pop_num() == 0 { otherwise } else { then };
                return self.block(signature, body);
            }
            Op::Loop(repeat, _, body) => {
                for left in (0..repeat.times).rev() {
                    match self.run(body)? {
                        Flow::Next => {}
                        Flow::Branch(depth) => return Ok(Flow::Branch(depth - 1)),
                        flow => return Ok(flow),
                    }
                    self.frame().locals[repeat.counter as usize] = Value::Num(left);
                }
            }
            Op::Br(depth) => return Ok(Flow::Branch(*depth)),
            Op::BrIf(depth) => {
                if self.pop_num() != 0 {
                    return Ok(Flow::Branch(*depth));
                }
            }
            Op::BrTable(depths, default) => {
                let index = self.pop_index();
                return Ok(Flow::Branch(*depths.get(index).unwrap_or(default)));
            }
            Op::Return => return Ok(Flow::Return),
            Op::Unreachable => return Err(Stop::Trap(TrapCode::Unreachable)),
            _ => unreachable!("the other instructions are no control"),
        }
        Ok(Flow::Next)
    }

    /// Every function is in the table of functions, and behind the last is null.
    fn element_function(&mut self, like: usize) -> Result<usize, Stop> {
        let index = self.pop_index();
        let functions = &self.program.functions;
        match functions.get(index) {
            Some(function) if function.signature == functions[like].signature => Ok(index),
            Some(_) => Err(Stop::Trap(TrapCode::IndirectCallTypeMismatch)),
            None if index == functions.len() => Err(Stop::Trap(TrapCode::UninitializedElement)),
            None => Err(Stop::Trap(TrapCode::UndefinedElement)),
        }
    }

    fn table(&mut self, op: &Op) -> Result<(), Stop> {
        const OUTSIDE: Stop = Stop::Trap(TrapCode::TableOutOfBounds);
        match *op {
            Op::TableGet(table) => {
                let index = self.pop_index();
                let elements = &self.outcome.tables[table as usize];
                let object = *elements.get(index).ok_or(OUTSIDE)?;
                self.push(Value::Ref(object));
            }
            Op::TableSet(table) => {
                let (object, index) = (self.pop_ref(), self.pop_index());
                let elements = &mut self.outcome.tables[table as usize];
                *elements.get_mut(index).ok_or(OUTSIDE)? = object;
            }
            Op::TableGrow(table) => {
                let (by, object) = (self.pop_index(), self.pop_ref());
                let elements = &mut self.outcome.tables[table as usize];
                let before = elements.len();
                let fits = before + by <= MOST_ELEMENTS as usize;
                if fits {
                    elements.extend(iter::repeat_n(object, by));
                }
                let before = i32::try_from(before).expect("a small table");
                self.push(Value::Num(if fits { before } else { -1 }));
            }
            Op::TableFill(table) => {
                let (count, object, to) = (self.pop_index(), self.pop_ref(), self.pop_index());
                let elements = &mut self.outcome.tables[table as usize];
                elements
                    .get_mut(to..to + count)
                    .ok_or(OUTSIDE)?
                    .fill(object);
            }
            Op::TableCopy(to_table, from_table) => {
                let (count, from, to) = (self.pop_index(), self.pop_index(), self.pop_index());
                let tables = &mut self.outcome.tables;
                let source = tables[from_table as usize].get(from..from + count);
                let source = source.ok_or(OUTSIDE)?.to_vec();
                let target = tables[to_table as usize].get_mut(to..to + count);
                target.ok_or(OUTSIDE)?.copy_from_slice(&source);
            }
            _ => unreachable!("the other instructions are of no table"),
        }
        Ok(())
    }

    fn collect(&mut self) {
        let mut held = self.outcome.stored();
        let least = held.len() as u64;
        let values = self
            .frames
            .iter()
            .flat_map(|frame| frame.locals.iter().chain(&frame.stack));
        held.extend(values.filter_map(|value| match value {
            Value::Ref(object) => *object,
            Value::Num(_) => None,
        }));
        self.outcome
            .events
            .push(Event::Collected(least..=held.len() as u64));
    }
}
