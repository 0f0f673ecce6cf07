//! Reading the values at a few paths of a YAML document.
//!
//! The file is untrusted. It is read event by event, and only the scalars at the paths are kept. The recursion is at
//! most as deep as the longest path. So a deep document or many aliases cost nothing. If there is an alias, a merge key
//! or a tag on a path, the value there is `Unclear`. Anywhere else they are skipped.

use super::scalar::{self, Value};
use saphyr_parser::{Event, Parser, ScalarStyle, StrInput};

/// The beginnings of the parser's errors about text that PyYAML may accept.
const STRICT: [&str; 4] = ["invalid indentation", "':' may not precede", "a byte order mark", "comments must be"];

/// The keys from the top of the document down to a value. No path may be the beginning of another path.
pub type Path = &'static [&'static str];

/// Read a text that is one document. Returns the value at each path.
///
/// # Errors
/// The reason why the text is not YAML, or is more than one document.
pub fn read<const N: usize>(text: &str, paths: [Path; N]) -> Result<[Value; N], String> {
    let found = std::array::from_fn(|_| Value::Absent);
    let mut reader = Reader { events: Parser::new_from_str(text), paths, found, is_unclear: false };
    match reader.document() {
        Err(_) if reader.is_unclear => Ok(std::array::from_fn(|_| Value::Unclear)),
        said => said.map(|()| reader.found),
    }
}

struct Reader<'a, const N: usize> {
    events: Parser<'a, StrInput<'a>>,
    paths: [Path; N],
    found: [Value; N],
    /// Has the parser refused something that PyYAML may accept?
    is_unclear: bool,
}

impl<'a, const N: usize> Reader<'a, N> {
    fn next(&mut self) -> Result<Event<'a>, String> {
        let next = self.events.next().ok_or("it ends too early")?;
        next.map(|(event, _)| event).map_err(|error| {
            self.is_unclear = STRICT.iter().any(|info| error.info().starts_with(info));
            error.to_string()
        })
    }

    fn document(&mut self) -> Result<(), String> {
        let mut documents = 0;
        loop {
            match self.next()? {
                Event::StreamEnd => return Ok(()),
                Event::DocumentStart(_) if documents > 0 => return Err("more than one document".to_string()),
                Event::DocumentStart(_) => {
                    documents += 1;
                    self.node(0, &std::array::from_fn::<_, N, _>(|path| path))?;
                }
                _ => {}
            }
        }
    }

    /// Read the next node. The node is `depth` keys below the top, and the paths `on` lead to it or through it.
    fn node(&mut self, depth: usize, on: &[usize]) -> Result<(), String> {
        let is_end = on.iter().all(|path| self.paths[*path].len() == depth);
        match self.next()? {
            Event::Scalar(text, style, _, None) => {
                let value = match style {
                    _ if !is_end => Value::Absent,
                    ScalarStyle::Plain => scalar::plain(&text),
                    _ => Value::Text(text.into_owned()),
                };
                self.set(on, &value);
                Ok(())
            }
            Event::MappingStart(_, None) if !is_end => {
                self.set(on, &Value::Absent);
                self.mapping(depth, on)
            }
            event => {
                self.set(on, &Value::Unclear);
                self.pass(event)
            }
        }
    }

    /// Read the keys and values of a mapping, whose first event was read. If a key occurs twice, its last value counts,
    /// with everything below it.
    fn mapping(&mut self, depth: usize, on: &[usize]) -> Result<(), String> {
        loop {
            let below: Vec<usize> = match self.next()? {
                Event::MappingEnd => return Ok(()),
                Event::Scalar(key, _, _, None) if key != "<<" => {
                    on.iter().copied().filter(|path| self.paths[*path][depth] == key).collect()
                }
                event => {
                    self.set(on, &Value::Unclear);
                    self.pass(event)?;
                    Vec::new()
                }
            };
            self.node(depth + 1, &below)?;
        }
    }

    /// Skip a node. `event` is its first event.
    fn pass(&mut self, mut event: Event<'a>) -> Result<(), String> {
        let mut depth = 0;
        loop {
            match event {
                Event::MappingStart(..) | Event::SequenceStart(..) => depth += 1,
                Event::MappingEnd | Event::SequenceEnd => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Ok(());
            }
            event = self.next()?;
        }
    }

    fn set(&mut self, paths: &[usize], value: &Value) {
        for path in paths {
            self.found[*path] = value.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Value::{Absent, Int, Unclear};

    /// The values at `a.b`, at `a.c.d` and at `e`.
    fn abcde(text: &str) -> Result<[Value; 3], String> {
        read(text, [&["a", "b"], &["a", "c", "d"], &["e"]])
    }

    #[test]
    fn what_stands_at_a_path_is_found() {
        for (text, wanted) in [
            ("[a, e]", [Unclear, Unclear, Unclear]),
            ("a: {b: 1, c: {d: 2}}\ne: 3", [Int(1), Int(2), Int(3)]),
            ("a: {x: {b: 2}, b: 1, c: [{d: 1}]}\nx: {e: 1, a: {b: 3}}", [Int(1), Unclear, Absent]),
            ("a.b: 1\na: {c.d: 1}\n'': {e: 1}", [Absent, Absent, Absent]),
            ("'a': {\"\\x62\": &x 1}\ne: '1'", [Int(1), Absent, Value::Text("1".to_string())]),
            ("a: {b: {}, c: 1}\ne: []", [Unclear, Absent, Unclear]),
            ("%YAML 1.1\n---\ne: 1\n...\n", [Absent, Absent, Int(1)]),
            ("a: {b: 1, c: {d: 2}}\na: {b: 3}", [Int(3), Absent, Absent]),
            ("a: {b: 1, b: 2}\na:\ne: 1\ne:", [Absent, Absent, Value::Null]),
        ] {
            assert_eq!(abcde(text), Ok(wanted), "{text:?}");
        }
    }

    #[test]
    fn what_is_not_spelled_out_on_a_path_is_unclear_and_elsewhere_does_no_harm() {
        for (text, wanted) in [
            ("x: &x {b: 1}\na: *x\ne: 1", [Unclear, Unclear, Int(1)]),
            ("x: &x {b: 1}\na: {b: 1, <<: *x, c: {d: 2}}", [Unclear, Int(2), Absent]),
            ("x: &x a\n*x : {b: 1}\ne: 1", [Unclear, Unclear, Int(1)]),
            ("a: !!map {b: 1}\ne: ! 1", [Unclear, Unclear, Unclear]),
            ("x: &x {b: 1}\ny: {<<: *x, z: [*x], w: !!int '1'}\nv: !w {k: 2}\ne: 2", [Absent, Absent, Int(2)]),
            ("a: {b:[1]}", [Unclear, Unclear, Unclear]),
            ("x:\n  y: \"c\n d\"\ne: 1", [Unclear, Unclear, Unclear]),
        ] {
            assert_eq!(abcde(text), Ok(wanted), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_single_document_is_refused() {
        for text in ["a: [1", "a: *nobody", "e: 1\n---\ne: 2", "a: b: c", "a:\n\tb: 1"] {
            assert!(abcde(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn depth_and_aliases_cost_nothing() {
        let mut text: String = (0..20_000).map(|_| "- ").collect();
        assert_eq!(abcde(&text), Ok([Unclear, Unclear, Unclear]));
        text = "b0: &b0 {k: 1}\n".to_string();
        for n in 1..64 {
            text += &format!("b{n}: &b{n} {{<<: [*b{0}, *b{0}], k{n}: [*b{0}, *b{0}]}}\n", n - 1);
        }
        assert_eq!(abcde(&(text + "e: 1")), Ok([Absent, Absent, Int(1)]));
    }
}
