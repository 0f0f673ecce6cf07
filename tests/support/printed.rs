//! What the documents print: commands behind a prompt, each with its output below it.

use super::glob;

/// A command as a document prints it.
pub struct Step {
    pub command: String,
    /// Does root type it (`# `), or anybody (`$ `)?
    pub as_root: bool,
    pub output: String,
}

/// The commands of a block: the lines behind `$ ` or `# `, each with the lines of its continuation behind `> `.
pub fn steps(block: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in block.lines() {
        if let Some(command) = line.strip_prefix("$ ").or_else(|| line.strip_prefix("# ")) {
            let as_root = line.starts_with('#');
            steps.push(Step { command: command.to_string(), as_root, output: String::new() });
            continue;
        }
        let step = steps.last_mut().expect("a command");
        match line.strip_prefix("> ") {
            Some(more) => step.command += &format!("\n{more}"),
            None => step.output += &format!("{line}\n"),
        }
    }
    steps
}

impl Step {
    /// Is this what the document prints below the command? A document that prints nothing says nothing about it.
    pub fn prints(&self, seen: &str) -> bool {
        self.output.is_empty() || glob(&vague(&self.output), &vague(seen))
    }
}

/// Each number as `#`, each length of time as `#s`, and each run of blanks as one blank, because the widths of columns
/// depend on the numbers.
fn vague(text: &str) -> String {
    let mut vague = String::new();
    for c in text.chars() {
        let c = if c.is_ascii_digit() { '#' } else { c };
        if !(vague.ends_with(c) && (c == '#' || c == ' ')) {
            vague.push(c);
        }
    }
    let time =
        |word: &str| word.len() > 1 && word.starts_with('#') && word.trim_matches(['#', 'd', 'h', 'm', 's']).is_empty();
    let mut folded = String::new();
    for line in vague.lines() {
        let words: Vec<&str> = line.trim_end().split(' ').map(|word| if time(word) { "#s" } else { word }).collect();
        folded += &(words.join(" ") + "\n");
    }
    folded
}

#[test]
fn numbers_and_widths_and_lengths_of_time_do_not_count() {
    assert_eq!(vague("up   12  2h14m 9530 ms=3 x86\n"), "up # #s # ms=# x#\n");
    let steps = steps("$ a &&\n> b\nout 7\n# c\n");
    assert_eq!(steps[0].command, "a &&\nb");
    assert!(steps[0].prints("out 12\n") && !steps[0].prints("in 12\n") && steps[1].prints("anything"));
    assert!(!steps[0].as_root && steps[1].as_root);
}
