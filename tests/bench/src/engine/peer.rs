//! Wasmtime, used in the way that its documentation recommends for speed.

use super::{Engine, Failure, Host, STACK_BYTES, Watched};
use crate::contender::Contender;
use crate::stopwatch::Effort;
use wasmtime::{
    Caller, Collector, Config, Error, ExternRef, Instance, Linker, Module, RootScope, Rooted, Store,
};

/// An instance in Wasmtime.
pub(crate) struct Peer {
    store: Store<Host>,
    instance: Instance,
}

impl Peer {
    /// Compiles and instantiates `text` in a store of its own.
    pub(crate) fn new(contender: Contender, text: &str, effort: Effort) -> Result<Self, Failure> {
        let collector = match contender {
            Contender::Drc | Contender::Handle => Collector::DeferredReferenceCounting,
            Contender::Copying => Collector::Copying,
            Contender::Null => Collector::Null,
            other => return Err(format!("{other} runs no guests").into()),
        };
        let mut config = Config::new();
        config
            .collector(collector)
            .wasm_function_references(true)
            .wasm_gc(true)
            .async_stack_size(STACK_BYTES)
            .max_wasm_stack(STACK_BYTES);
        let engine = wasmtime::Engine::new(&config)?;
        let module = Module::new(&engine, text)?;
        let mut linker = Linker::new(&engine);
        link_references(&mut linker)?;
        link_handles(&mut linker)?;
        let mut store = Store::new(&engine, Host::new(effort));
        let instance = linker.instantiate(&mut store, &module)?;
        Ok(Self { store, instance })
    }
}

fn link_references(linker: &mut Linker<Host>) -> Result<(), Error> {
    linker.func_wrap("host", "new", |caller: Caller<'_, Host>, value: i64| {
        ExternRef::new(caller, value.cast_unsigned()).map(Some)
    })?;
    linker.func_wrap("host", "value", value_of)?;
    linker.func_wrap("host", "gc", |mut caller: Caller<'_, Host>| caller.gc(None))?;
    linker.func_wrap("bench", "new_watched", |caller: Caller<'_, Host>| {
        ExternRef::new(caller, Watched::new()).map(Some)
    })?;
    linker.func_wrap("bench", "alive", Watched::alive)?;
    Ok(())
}

fn value_of(caller: Caller<'_, Host>, reference: Option<Rooted<ExternRef>>) -> Result<i64, Error> {
    let reference = reference.ok_or_else(|| Error::msg("the reference is null"))?;
    let value = reference
        .data(&caller)?
        .and_then(|value| value.downcast_ref::<u64>());
    let value = value.ok_or_else(|| Error::msg("the object is no number"))?;
    Ok(value.cast_signed())
}

fn link_handles(linker: &mut Linker<Host>) -> Result<(), Error> {
    linker.func_wrap("bench", "next", |mut caller: Caller<'_, Host>| {
        caller.data_mut().stopwatch.next()
    })?;
    linker.func_wrap(
        "bench",
        "new_handle",
        |mut caller: Caller<'_, Host>, value: i64| {
            caller.data_mut().new_handle(value.cast_unsigned())
        },
    )?;
    linker.func_wrap(
        "bench",
        "handle_value",
        |caller: Caller<'_, Host>, handle: i32| {
            let value = caller.data().handle_value(handle);
            value
                .map(u64::cast_signed)
                .ok_or_else(|| Error::msg("no such handle"))
        },
    )?;
    linker.func_wrap(
        "bench",
        "drop_handle",
        |mut caller: Caller<'_, Host>, handle: i32| caller.data_mut().drop_handle(handle),
    )?;
    linker.func_wrap("bench", "walk", || {})?;
    Ok(())
}

impl Engine for Peer {
    fn run(&mut self, export: &str, x: i32) -> Result<i32, Failure> {
        let run = self
            .instance
            .get_typed_func::<i32, i32>(&mut self.store, export)?;
        Ok(run.call(&mut self.store, x)?)
    }

    fn time_empty_calls(&mut self) -> Result<(), Failure> {
        let empty = self
            .instance
            .get_typed_func::<(), ()>(&mut self.store, "empty")?;
        loop {
            let iterations = self.store.data_mut().stopwatch.next();
            if iterations == 0 {
                return Ok(());
            }
            for _ in 0..iterations {
                empty.call(&mut self.store, ())?;
            }
        }
    }

    fn time_reference_calls(&mut self) -> Result<(), Failure> {
        type Reference = Option<Rooted<ExternRef>>;
        let same = self
            .instance
            .get_typed_func::<Reference, Reference>(&mut self.store, "same")?;
        let reference = Some(ExternRef::new(&mut self.store, 7_u64)?);
        loop {
            let iterations = self.store.data_mut().stopwatch.next();
            if iterations == 0 {
                return Ok(());
            }
            for _ in 0..iterations {
                let mut scope = RootScope::new(&mut self.store);
                same.call(&mut scope, reference)?;
            }
        }
    }

    fn figure(&mut self) -> Option<f64> {
        self.store.data_mut().stopwatch.figure()
    }
}
