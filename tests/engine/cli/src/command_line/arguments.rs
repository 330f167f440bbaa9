//! Parses the arguments of the called function.

use vmexternref_core::VMExternRef;
use vmexternref_engine_host::{Census, HostKind};
use vmexternref_engine_runtime::{Val, ValType};

/// Parses `text` as a value of type `ty`.
///
/// A number for an `externref` becomes a host object that holds it.
pub(crate) fn parse(ty: ValType, text: &str, census: &Census) -> Option<Val> {
    let null = text == "null";
    match ty {
        ValType::I32 => word32(text).map(Val::I32),
        ValType::I64 => word64(text).map(Val::I64),
        ValType::F32 => Some(Val::F32(text.parse::<f32>().ok()?.to_bits())),
        ValType::F64 => Some(Val::F64(text.parse::<f64>().ok()?.to_bits())),
        ValType::FuncRef => null.then_some(Val::FuncRef(None)),
        ValType::ExternRef if null => Some(Val::ExternRef(None)),
        ValType::ExternRef => {
            let object = census.object(HostKind::Value(word64(text)?));
            Some(Val::ExternRef(Some(VMExternRef::new(object))))
        }
    }
}

/// Parses a number in decimal, or in hexadecimal after `0x`, with an optional sign.
fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let magnitude = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None => digits.parse::<u64>().ok()?,
    };
    let magnitude = i128::from(magnitude);
    Some(if negative { -magnitude } else { magnitude })
}

fn word32(text: &str) -> Option<i32> {
    let number = integer(text)?;
    i32::try_from(number)
        .ok()
        .or_else(|| u32::try_from(number).ok().map(u32::cast_signed))
}

fn word64(text: &str) -> Option<i64> {
    let number = integer(text)?;
    i64::try_from(number)
        .ok()
        .or_else(|| u64::try_from(number).ok().map(u64::cast_signed))
}

#[cfg(test)]
mod tests {
    use super::parse;
    use vmexternref_engine_host::{Census, Shown};
    use vmexternref_engine_runtime::{Val, ValType};

    fn shown(ty: ValType, text: &str) -> Option<String> {
        let value = parse(ty, text, &Census::default())?;
        Some(Shown(&value).to_string())
    }

    #[test]
    fn integers_are_signed_unsigned_or_hexadecimal() {
        for (text, value) in [
            ("-1", -1),
            ("4294967295", -1),
            ("0xffffffff", -1),
            ("+7", 7),
        ] {
            assert!(matches!(
                parse(ValType::I32, text, &Census::default()),
                Some(Val::I32(got)) if got == value
            ));
        }
        assert_eq!(
            shown(ValType::I64, "0xffffffffffffffff").as_deref(),
            Some("-1")
        );
        assert_eq!(
            shown(ValType::I64, "-9223372036854775808").as_deref(),
            Some("-9223372036854775808")
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (ty, text) in [
            (ValType::I32, "4294967296"),
            (ValType::I32, "-2147483649"),
            (ValType::I64, "18446744073709551616"),
            (ValType::I64, "-9223372036854775809"),
            (ValType::I32, ""),
            (ValType::I32, "--1"),
            (ValType::I32, "1.5"),
            (ValType::F64, "one"),
            (ValType::FuncRef, "1"),
            (ValType::ExternRef, "nil"),
        ] {
            assert_eq!(shown(ty, text), None, "{text:?}");
        }
    }

    #[test]
    fn a_number_for_a_reference_is_an_object() {
        let census = Census::default();
        let value = parse(ValType::ExternRef, "42", &census).unwrap();
        assert_eq!(Shown(&value).to_string(), "externref(value 42)");
        assert_eq!(census.alive(), 1);
        drop(value);
        assert_eq!(census.alive(), 0);
        assert_eq!(shown(ValType::ExternRef, "null").as_deref(), Some("null"));
    }
}
