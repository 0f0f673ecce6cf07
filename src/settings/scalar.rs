//! Plain scalars as PyYAML reads them: YAML 1.1, where `yes` is true, `8_642` a number and `2:30` a hundred and fifty.

use super::python::number;
use super::yaml::Value;

/// A scalar without quotes and without a tag.
pub fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Value::Bool(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Value::Bool(false),
        _ => match (int(text), float(text)) {
            (Some(number), _) => Value::Int(number),
            (None, Some(number)) => Value::Float(number),
            (None, None) => Value::Text(text.to_string()),
        },
    }
}

/// A YAML 1.1 integer: decimal, `0b`, `0x`, octal with a leading 0, or sexagesimal. Saturates.
pub fn int(text: &str) -> Option<i64> {
    let (sign, body) = signed(text);
    let made_of = |digits: &str, set: &str| !digits.is_empty() && digits.chars().all(|c| c == '_' || set.contains(c));
    let size = if let Some(digits) = body.strip_prefix("0b").filter(|d| made_of(d, "01")) {
        number(digits, 2)
    } else if let Some(digits) = body.strip_prefix("0x").filter(|d| made_of(d, "0123456789abcdefABCDEF")) {
        number(digits, 16)
    } else if let Some(digits) = body.strip_prefix('0') {
        if !digits.is_empty() && !made_of(digits, "01234567") {
            return None;
        }
        number(digits, 8)
    } else {
        let (first, others) = body.split_once(':').map_or((body, None), |(f, o)| (f, Some(o)));
        if !first.starts_with(|c: char| c.is_ascii_digit()) || !made_of(first, "0123456789") {
            return None;
        }
        sixties(number(first, 10), others)?
    };
    Some(sign * size)
}

/// A YAML 1.1 float; without a point there is none.
fn float(text: &str) -> Option<f64> {
    let (sign, body) = signed(text);
    match body {
        ".inf" | ".Inf" | ".INF" => return Some(f64::INFINITY * sign as f64),
        ".nan" | ".NaN" | ".NAN" if body == text => return Some(f64::NAN),
        _ => {}
    }
    let (whole, fraction) = body.split_once('.')?;
    let digits = |text: &str| text.chars().all(|c| c == '_' || c.is_ascii_digit());
    let starts = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    if let Some((first, others)) = whole.split_once(':') {
        let whole = (starts(first) && digits(first) && digits(fraction)).then(|| number(first, 10))?;
        let fraction: f64 = format!("0.{}0", fraction.replace('_', "")).parse().ok()?;
        return Some(sign as f64 * (sixties(whole, Some(others))? as f64 + fraction));
    }
    let (fraction, exponent) = fraction.split_once(['e', 'E']).map_or((fraction, None), |(f, e)| (f, Some(e)));
    let exponent_ok = exponent.is_none_or(|e| {
        e.strip_prefix(['-', '+']).is_some_and(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()))
    });
    let mantissa_ok = match whole {
        "" => body == text && starts(fraction) && digits(fraction),
        _ => starts(whole) && digits(whole) && digits(fraction),
    };
    if !exponent_ok || !mantissa_ok {
        return None;
    }
    text.replace('_', "").parse().ok()
}

fn signed(text: &str) -> (i64, &str) {
    match text.strip_prefix('-') {
        Some(body) => (-1, body),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// `first:others`, each of the others a digit or two below sixty.
fn sixties(first: i64, others: Option<&str>) -> Option<i64> {
    let Some(others) = others else { return Some(first) };
    others.split(':').try_fold(first, |sum, part| {
        let valid = matches!(part.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9']);
        valid.then(|| sum.saturating_mul(60).saturating_add(number(part, 10)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What PyYAML 6.0.3 makes of each of these.
    #[test]
    fn scalars_are_what_pyyaml_makes_of_them() {
        for (text, value) in [
            ("", Value::Null),
            ("~", Value::Null),
            ("yes", Value::Bool(true)),
            ("On", Value::Bool(true)),
            ("off", Value::Bool(false)),
            ("y", Value::Text("y".to_string())),
            ("yEs", Value::Text("yEs".to_string())),
            ("8642", Value::Int(8642)),
            ("+8642", Value::Int(8642)),
            ("-1", Value::Int(-1)),
            ("8_642", Value::Int(8642)),
            ("8642_", Value::Int(8642)),
            ("0", Value::Int(0)),
            ("0x21C2", Value::Int(8642)),
            ("0X21C2", Value::Text("0X21C2".to_string())),
            ("0b11", Value::Int(3)),
            ("020702", Value::Int(8642)),
            ("08642", Value::Text("08642".to_string())),
            ("0o17", Value::Text("0o17".to_string())),
            ("2:24:02", Value::Int(8642)),
            ("144:2", Value::Int(8642)),
            ("144:60", Value::Text("144:60".to_string())),
            ("99999999999999999999", Value::Int(i64::MAX)),
            ("8642.0", Value::Float(8642.0)),
            ("8642.", Value::Float(8642.0)),
            ("8.642e+3", Value::Float(8642.0)),
            ("8.642e3", Value::Text("8.642e3".to_string())),
            ("8e3", Value::Text("8e3".to_string())),
            (".5", Value::Float(0.5)),
            ("144:2.0", Value::Float(8642.0)),
            ("-.inf", Value::Float(f64::NEG_INFINITY)),
            ("1.2.3", Value::Text("1.2.3".to_string())),
            ("-", Value::Text("-".to_string())),
            ("_1", Value::Text("_1".to_string())),
            (".", Value::Text(".".to_string())),
            ("8642 ", Value::Text("8642 ".to_string())),
        ] {
            assert_eq!(plain(text), value, "{text:?}");
        }
    }
}
