//! A YAML document as PyYAML's safe loader sees it, as far as settings need it.
//!
//! The file is untrusted: depth and merging are bounded, an alias shares its node, and what nobody asked for is not kept.

use super::{python, scalar};
use saphyr_parser::{Event, Parser, ScalarStyle, StrInput, Tag};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// How deep a document may nest.
const DEPTH: usize = 64;
/// How deep with what its aliases stand for: nodes are dropped one within the other, on one stack.
const HEIGHT: usize = 1024;
/// How many entries `<<` may copy in all.
const MERGED: usize = 100_000;

/// A node.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`, `~`, nothing.
    Null,
    /// `yes`, `off`, ...
    Bool(bool),
    /// An integer; saturated.
    Int(i64),
    /// A float.
    Float(f64),
    /// A string, and what is no number, boolean or null.
    Text(String),
    /// A sequence.
    List(Vec<Rc<Value>>),
    /// A mapping: the entries whose keys are strings, the last one of each key.
    Map(BTreeMap<String, Rc<Value>>),
}

impl Value {
    /// The entry of this key, if this is a mapping that has one.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Map(entries) => entries.get(key).map(Rc::as_ref),
            _ => None,
        }
    }

    /// Is it a mapping?
    pub fn is_map(&self) -> bool {
        matches!(self, Value::Map(_))
    }
}

/// Load the one document of this text; of its entries only those of the keys `wanted` are kept.
///
/// # Errors
/// Why PyYAML would refuse the text, or why we do.
pub fn load(text: &str, wanted: &[&str]) -> Result<Value, String> {
    let mut loader =
        Loader { events: Parser::new_from_str(text), wanted, anchors: HashMap::new(), deepest: 0, merged: 0 };
    let mut root = None;
    loop {
        match loader.next()? {
            Event::StreamEnd => break,
            Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
            Event::DocumentStart(_) if root.is_some() => return Err("more than one document".to_string()),
            Event::DocumentStart(_) => {
                let event = loader.next()?;
                root = Some(loader.node(event, 0, true)?);
            }
            event => return Err(format!("unexpected {event:?}")),
        }
    }
    loader.anchors.clear();
    Ok(root.map_or(Value::Null, Rc::unwrap_or_clone))
}

struct Loader<'a> {
    events: Parser<'a, StrInput<'a>>,
    wanted: &'a [&'a str],
    /// Nodes with an anchor, and how many levels are below each.
    anchors: HashMap<usize, (Rc<Value>, usize)>,
    /// The depth of the deepest level since the current node began, aliases included.
    deepest: usize,
    merged: usize,
}

impl<'a> Loader<'a> {
    fn next(&mut self) -> Result<Event<'a>, String> {
        match self.events.next() {
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("it ends too early".to_string()),
        }
    }

    /// The node that starts with this event. Where it is not to be kept, only its kind is right, unless it has an anchor.
    fn node(&mut self, event: Event<'a>, depth: usize, keep: bool) -> Result<Rc<Value>, String> {
        if depth > DEPTH {
            return Err(format!("nested deeper than {DEPTH}"));
        }
        let above = std::mem::replace(&mut self.deepest, depth);
        let (value, anchor) = match event {
            // An alias inside its own node has nothing behind it yet.
            Event::Alias(anchor) => {
                let found = self.anchors.get(&anchor).cloned();
                let (value, height) = found.unwrap_or_else(|| (Rc::new(Value::Null), 0));
                self.deepest = above.max(depth + height);
                if self.deepest > HEIGHT {
                    return Err(format!("nested deeper than {HEIGHT} by aliases"));
                }
                return Ok(value);
            }
            Event::Scalar(text, style, anchor, tag) => {
                (resolve(&text, style == ScalarStyle::Plain, tag.as_deref())?, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                known_collection(tag.as_deref())?;
                (self.list(depth, keep || anchor != 0)?, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                known_collection(tag.as_deref())?;
                (self.map(depth, keep || anchor != 0)?, anchor)
            }
            event => return Err(format!("unexpected {event:?}")),
        };
        let value = Rc::new(value);
        if anchor != 0 {
            self.anchors.insert(anchor, (Rc::clone(&value), self.deepest - depth));
        }
        self.deepest = self.deepest.max(above);
        Ok(value)
    }

    fn list(&mut self, depth: usize, keep: bool) -> Result<Value, String> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                Event::SequenceEnd => return Ok(Value::List(items)),
                event => {
                    let item = self.node(event, depth + 1, keep)?;
                    if keep {
                        items.push(item);
                    }
                }
            }
        }
    }

    fn map(&mut self, depth: usize, keep: bool) -> Result<Value, String> {
        let mut own = BTreeMap::new();
        let mut merged = BTreeMap::new();
        loop {
            let event = match self.next()? {
                Event::MappingEnd => break,
                event => event,
            };
            let merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<");
            let key = self.node(event, depth + 1, true)?;
            let event = self.next()?;
            let keep =
                keep && (depth > 0 || merge || matches!(&*key, Value::Text(k) if self.wanted.contains(&k.as_str())));
            let value = self.node(event, depth + 1, keep)?;
            match &*key {
                _ if merge => self.merge(&mut merged, &value, keep)?,
                Value::Text(key) if keep => {
                    own.insert(key.clone(), value);
                }
                // PyYAML: a key must be hashable.
                Value::List(_) | Value::Map(_) => return Err("a collection as a key".to_string()),
                _ => {}
            }
        }
        // Whatever the order, a mapping's own keys win over merged ones.
        merged.append(&mut own);
        Ok(Value::Map(merged))
    }

    fn merge(&mut self, into: &mut BTreeMap<String, Rc<Value>>, value: &Rc<Value>, keep: bool) -> Result<(), String> {
        let sources: Vec<&Rc<Value>> = match &**value {
            Value::Map(_) => vec![value],
            // The first of a list wins.
            Value::List(items) => items.iter().rev().collect(),
            _ => return Err("a merge of what is not a mapping".to_string()),
        };
        for source in sources {
            let Value::Map(entries) = &**source else { return Err("a merge of what is not a mapping".to_string()) };
            if !keep {
                continue;
            }
            self.merged += entries.len();
            if self.merged > MERGED {
                return Err(format!("merging more than {MERGED} entries"));
            }
            into.extend(entries.iter().map(|(key, value)| (key.clone(), Rc::clone(value))));
        }
        Ok(())
    }
}

/// The value of a scalar; the tags are those of PyYAML's safe loader.
fn resolve(text: &str, plain: bool, tag: Option<&Tag>) -> Result<Value, String> {
    let Some(tag) = tag else {
        return Ok(if plain { scalar::plain(text) } else { Value::Text(text.to_string()) });
    };
    let wrong = || format!("a value that is not of its tag {}", tag.suffix);
    match tag.suffix.as_str() {
        // PyYAML treats it as if it were not there, even before quotes.
        "!" if tag.handle.is_empty() => Ok(scalar::plain(text)),
        _ if !tag.is_yaml_core_schema() => Err(format!("an unknown tag {tag}")),
        "str" | "binary" | "timestamp" => Ok(Value::Text(text.to_string())),
        "null" => Ok(Value::Null),
        "bool" => match text.to_lowercase().as_str() {
            "yes" | "true" | "on" => Ok(Value::Bool(true)),
            "no" | "false" | "off" => Ok(Value::Bool(false)),
            _ => Err(wrong()),
        },
        "int" => scalar::int(text).or_else(|| python::int(text)).map(Value::Int).ok_or_else(wrong),
        "float" => match scalar::plain(text) {
            value @ Value::Float(_) => Ok(value),
            Value::Int(number) => Ok(Value::Float(number as f64)),
            _ => text.parse().map(Value::Float).map_err(|_| wrong()),
        },
        _ => Err(format!("an unknown tag {tag}")),
    }
}

fn known_collection(tag: Option<&Tag>) -> Result<(), String> {
    let known = |tag: &Tag| match tag.suffix.as_str() {
        "!" => tag.handle.is_empty(),
        "map" | "seq" | "set" | "omap" | "pairs" => tag.is_yaml_core_schema(),
        _ => false,
    };
    match tag {
        Some(tag) if !known(tag) => Err(format!("an unknown tag {tag}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a(text: &str) -> Result<Value, String> {
        Ok(load(text, &["a"])?.get("a").cloned().unwrap_or(Value::Null))
    }

    #[test]
    fn documents_are_read_as_pyyaml_reads_them() {
        let text = |t: &str| Value::Text(t.to_string());
        for (yaml, value) in [
            ("", Value::Null),
            ("# only words\n", Value::Null),
            ("[a, b]", Value::Null),
            ("a: 8_642", Value::Int(8642)),
            ("a: '8642'", text("8642")),
            ("a: !!int '8642'", Value::Int(8642)),
            ("a: !!str 8642", text("8642")),
            ("a: ! 8642", Value::Int(8642)),
            ("a: ! '8642'", Value::Int(8642)),
            ("a: !!bool 'Yes'", Value::Bool(true)),
            ("a: 1\na: 2", Value::Int(2)),
            ("{a: 1, \"a\": 2}", Value::Int(2)),
            ("\"\\x61\": 1", Value::Int(1)),
            ("? a\n: 1", Value::Int(1)),
            ("b: &x 1\na: *x", Value::Int(1)),
            ("a: &x [*x]", Value::List(vec![Rc::new(Value::Null)])),
            ("b: &x {a: 1}\n<<: *x", Value::Int(1)),
            ("a: 2\nb: &x {a: 1}\n<<: *x", Value::Int(2)),
            ("b: &x {a: 1}\nc: &y {a: 2}\n<<: [*x, *y]", Value::Int(1)),
            ("'<<': {a: 1}", Value::Null),
            ("%YAML 1.1\n---\na: 1\n...\n", Value::Int(1)),
            ("\u{feff}a: 1", Value::Int(1)),
        ] {
            assert_eq!(a(yaml), Ok(value), "{yaml:?}");
        }
    }

    #[test]
    fn what_pyyaml_refuses_is_refused() {
        for yaml in [
            "a: [1",
            "a: *nobody",
            "a: 1\n---\na: 2",
            "a: 1\nb: !ruby 2",
            "b: !!python/object:os.system x\na: 1",
            "a: 1\n? [b]\n: c",
            "a: 1\n<<: 2",
            "a: !!int word",
            "a: b: c",
            "a:\n\tb: 1",
        ] {
            assert!(a(yaml).is_err(), "{yaml:?}");
        }
    }

    #[test]
    fn a_hostile_document_ends_soon() {
        let deep = "[".repeat(10_000);
        assert!(a(&deep).is_err());
        let mut laughs = "b0: &b0 {k: 1}\n".to_string();
        for n in 1..64 {
            laughs += &format!("b{n}: &b{n} {{<<: [*b{0}, *b{0}], k{n}: [*b{0}, *b{0}]}}\n", n - 1);
        }
        assert_eq!(a(&(laughs + "a: 1")), Ok(Value::Int(1)));
        let wide: String = (0..5000).map(|n| format!("k{n}: 1, ")).collect();
        let merges = "*x, ".repeat(5000);
        assert!(a(&format!("b: &x {{{wide}}}\na: {{<<: [{merges}]}}")).is_err());
    }

    #[test]
    fn a_chain_of_aliases_does_not_exhaust_the_stack() {
        let nest = |inner: &str| format!("{}{inner}{}", "[".repeat(60), "]".repeat(60));
        let mut chain = format!("&a0 {}", nest("1"));
        for n in 1..2000 {
            chain += &format!(", &a{} {}", n % 2, nest(&format!("*a{}", (n + 1) % 2)));
        }
        assert!(chain.len() < 256 << 10);
        assert!(a(&format!("a: [{chain}]")).is_err());
    }
}
