//! Arguments and expected results of scripts.

use super::report::Verdict;
use vmexternref_core::VMExternRef;
use vmexternref_engine_host::{Census, HostKind, HostObject};
use vmexternref_engine_runtime::Val;
use wast::core::{NanPattern, WastArgCore, WastRetCore};
use wast::token::{F32, F64};
use wast::{WastArg, WastRet};

/// The missing feature that a value needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsupported(pub &'static str);

impl From<Unsupported> for Verdict {
    fn from(Unsupported(feature): Unsupported) -> Self {
        Self::lacks(feature)
    }
}

const SIMD: Unsupported = Unsupported("SIMD");
const GC: Unsupported = Unsupported("garbage-collected types");
const COMPONENTS: Unsupported = Unsupported("components");

/// The value of an argument. `ref.extern N` is a new host object that holds `N`.
pub(super) fn argument(argument: &WastArg<'_>, census: &Census) -> Result<Val, Unsupported> {
    let WastArg::Core(argument) = argument else {
        return Err(COMPONENTS);
    };
    Ok(match argument {
        WastArgCore::I32(value) => Val::I32(*value),
        WastArgCore::I64(value) => Val::I64(*value),
        WastArgCore::F32(value) => Val::F32(value.bits),
        WastArgCore::F64(value) => Val::F64(value.bits),
        WastArgCore::V128(_) => return Err(SIMD),
        WastArgCore::RefNull(heap) => null(heap)?,
        WastArgCore::RefExtern(value) => {
            let object = census.object(HostKind::Value(i64::from(*value)));
            Val::ExternRef(Some(VMExternRef::new(object)))
        }
        WastArgCore::RefHost(_) => return Err(GC),
    })
}

fn null(heap: &wast::core::HeapType<'_>) -> Result<Val, Unsupported> {
    use wast::core::{AbstractHeapType, HeapType};
    match heap {
        HeapType::Abstract { ty, .. } => match ty {
            AbstractHeapType::Func => Ok(Val::FuncRef(None)),
            AbstractHeapType::Extern => Ok(Val::ExternRef(None)),
            _ => Err(GC),
        },
        _ => Err(GC),
    }
}

/// Whether `value` matches `pattern`.
pub(super) fn matches(value: &Val, pattern: &WastRet<'_>) -> Result<bool, Unsupported> {
    match pattern {
        WastRet::Core(pattern) => matches_core(value, pattern),
        _ => Err(COMPONENTS),
    }
}

fn matches_core(value: &Val, pattern: &WastRetCore<'_>) -> Result<bool, Unsupported> {
    Ok(match (value, pattern) {
        (Val::I32(value), WastRetCore::I32(expected)) => value == expected,
        (Val::I64(value), WastRetCore::I64(expected)) => value == expected,
        (Val::F32(bits), WastRetCore::F32(expected)) => matches_f32(*bits, expected),
        (Val::F64(bits), WastRetCore::F64(expected)) => matches_f64(*bits, expected),
        (Val::ExternRef(None) | Val::FuncRef(None), WastRetCore::RefNull(None)) => true,
        (Val::ExternRef(None), WastRetCore::RefNull(Some(heap))) => {
            matches!(null(heap)?, Val::ExternRef(_))
        }
        (Val::FuncRef(None), WastRetCore::RefNull(Some(heap))) => {
            matches!(null(heap)?, Val::FuncRef(_))
        }
        (Val::ExternRef(Some(_)), WastRetCore::RefExtern(None)) => true,
        (Val::ExternRef(Some(object)), WastRetCore::RefExtern(Some(expected))) => {
            number(object) == Some(i64::from(*expected))
        }
        (Val::FuncRef(Some(_)), WastRetCore::RefFunc(None)) => true,
        (_, WastRetCore::RefFunc(Some(_))) => return Err(Unsupported("typed function references")),
        (_, WastRetCore::V128(_)) => return Err(SIMD),
        (_, WastRetCore::Either(patterns)) => {
            for pattern in patterns {
                if matches_core(value, pattern)? {
                    return Ok(true);
                }
            }
            false
        }
        (
            _,
            WastRetCore::RefHost(_)
            | WastRetCore::RefAny
            | WastRetCore::RefEq
            | WastRetCore::RefArray
            | WastRetCore::RefStruct
            | WastRetCore::RefI31
            | WastRetCore::RefI31Shared,
        ) => return Err(GC),
        _ => false,
    })
}

/// The number that a host object holds.
fn number(object: &VMExternRef) -> Option<i64> {
    object.downcast_ref::<HostObject>()?.kind().number()
}

/// All bits of the exponent, and the quiet bit.
const QUIET_F32: u32 = 0x7fc0_0000;
/// All bits of the exponent, and the quiet bit.
const QUIET_F64: u64 = 0x7ff8_0000_0000_0000;

fn matches_f32(bits: u32, pattern: &NanPattern<F32>) -> bool {
    match pattern {
        NanPattern::CanonicalNan => bits & !(1 << 31) == QUIET_F32,
        NanPattern::ArithmeticNan => bits & QUIET_F32 == QUIET_F32,
        NanPattern::Value(expected) => bits == expected.bits,
    }
}

fn matches_f64(bits: u64, pattern: &NanPattern<F64>) -> bool {
    match pattern {
        NanPattern::CanonicalNan => bits & !(1 << 63) == QUIET_F64,
        NanPattern::ArithmeticNan => bits & QUIET_F64 == QUIET_F64,
        NanPattern::Value(expected) => bits == expected.bits,
    }
}

#[cfg(test)]
mod tests {
    use super::{Unsupported, argument, matches};
    use vmexternref_engine_host::Census;
    use vmexternref_engine_runtime::Val;
    use wast::parser::{self, ParseBuffer};
    use wast::{WastArg, WastRet};

    fn agrees(value: &Val, pattern: &str) -> Result<bool, Unsupported> {
        let buffer = ParseBuffer::new(pattern).unwrap();
        matches(value, &parser::parse::<WastRet<'_>>(&buffer).unwrap())
    }

    fn value(text: &str, census: &Census) -> Result<Val, Unsupported> {
        let buffer = ParseBuffer::new(text).unwrap();
        argument(&parser::parse::<WastArg<'_>>(&buffer).unwrap(), census)
    }

    #[test]
    fn numbers_are_compared_by_their_bits() {
        assert_eq!(agrees(&Val::I32(-1), "i32.const 0xffffffff"), Ok(true));
        assert_eq!(agrees(&Val::I64(1), "i32.const 1"), Ok(false));
        assert_eq!(agrees(&Val::F32(0x8000_0000), "f32.const 0"), Ok(false));
        assert_eq!(agrees(&Val::F32(0x8000_0000), "f32.const -0"), Ok(true));
        assert_eq!(
            agrees(&Val::I32(2), "either (i32.const 1) (i32.const 2)"),
            Ok(true)
        );
    }

    #[test]
    fn nan_patterns_differ_in_the_payload() {
        let (canonical, payload, signalling) = (0xffc0_0000, 0x7fc0_0001, 0x7f80_0001);
        for (bits, is_canonical, is_arithmetic) in [
            (canonical, true, true),
            (payload, false, true),
            (signalling, false, false),
        ] {
            let value = Val::F32(bits);
            assert_eq!(agrees(&value, "f32.const nan:canonical"), Ok(is_canonical));
            assert_eq!(
                agrees(&value, "f32.const nan:arithmetic"),
                Ok(is_arithmetic)
            );
        }
        assert_eq!(
            agrees(&Val::F64(0x7ff8_0000_0000_0000), "f64.const nan:canonical"),
            Ok(true)
        );
    }

    #[test]
    fn references_are_compared_by_their_number() {
        let census = Census::default();
        let object = value("ref.extern 7", &census).unwrap();
        assert_eq!(agrees(&object, "ref.extern 7"), Ok(true));
        assert_eq!(agrees(&object, "ref.extern 8"), Ok(false));
        assert_eq!(agrees(&object, "ref.extern"), Ok(true));
        assert_eq!(agrees(&object, "ref.null extern"), Ok(false));
        drop(object);
        assert_eq!(census.alive(), 0);
        let null = value("ref.null extern", &census).unwrap();
        assert_eq!(agrees(&null, "ref.null extern"), Ok(true));
        assert_eq!(agrees(&null, "ref.null func"), Ok(false));
        assert_eq!(agrees(&null, "ref.null"), Ok(true));
    }

    #[test]
    fn what_the_engine_lacks_is_named() {
        let census = Census::default();
        let simd = "v128.const i32x4 0 0 0 0";
        assert_eq!(value(simd, &census).err(), Some(Unsupported("SIMD")));
        assert_eq!(agrees(&Val::I32(0), simd), Err(Unsupported("SIMD")));
    }
}
