//! Completions for shells, made of the tools' own tables: `hermes-s6 --completions bash`, `zsh` or `fish`.
//!
//! The names of profiles that a shell offers are on the volume, which is untrusted. So only what could be a name is
//! offered, because a shell may expand what it is given.

use crate::tools::cli::{Opt, Tool};
use std::fmt::Write as _;

/// What is offered in place of the operand `profile`: for these tools the profiles that have a slot, for the others those
/// on the volume.
const OF_SLOTS: [&str; 5] =
    ["hermes-svc-logs", "hermes-svc-restart", "hermes-svc-status", "hermes-svc-stop", "hermes-svc-unregister"];

/// The shell function that prints the names, for bash and zsh. Its arguments are the kind of names and the words of the
/// command line, of which it needs the home and the scandir.
const NAMES: &str = r#"_hermes_s6_names() {
    local kind=$1 home= scandir= before= word= name=
    shift
    for word; do
        case $before in
            -H | --home) home=$word ;;
            -s | --scandir) scandir=$word ;;
        esac
        before=$word
    done
    if [ "$kind" = slot ]; then
        hermes-svc-list ${scandir:+-s} ${scandir:+"$scandir"} 2>/dev/null
        return
    fi
    home=$(hermes-home ${home:+-H} ${home:+"$home"} 2>/dev/null) || return
    echo default
    for name in "$home"/profiles/*/SOUL.md; do
        name=${name%/SOUL.md}
        name=${name##*/}
        case $name in
            '' | [!a-z0-9]* | *[!a-z0-9_-]*) ;;
            *) echo "$name" ;;
        esac
    done
}
"#;

const BASH: &str = r#"_hermes_s6() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} options= directories= values= names=
    COMPREPLY=()
    case ${COMP_WORDS[0]##*/} in
TOOLS    esac
    if [[ $directories == *" $prev "* ]]; then
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -d -- "$cur")
    elif [[ $values == *" $prev "* ]]; then
        :
    elif [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$cur")
    elif [[ $names ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_hermes_s6_names "$names" "${COMP_WORDS[@]}")" -- "$cur")
    fi
}
"#;

const FISH: &str = r"function __hermes_s6_names
    set -l home
    set -l scandir
    set -l before
    for word in (commandline -opc)
        switch $before
            case -H --home
                set home -H $word
            case -s --scandir
                set scandir -s $word
        end
        set before $word
    end
    if test $argv[1] = slot
        hermes-svc-list $scandir 2>/dev/null
        return
    end
    set -l found (hermes-home $home 2>/dev/null)
    or return
    echo default
    for name in $found/profiles/*/SOUL.md
        string match -r '^[a-z0-9][a-z0-9_-]*$' -- (string split / -- $name)[-2]
    end
end
";

/// The completions for this shell. `None` if it is a shell that we do not know.
pub fn of(shell: &str, tools: &[&'static Tool]) -> Option<String> {
    let head = "# Completions for the tools of hermes-s6, made by hermes-s6 --completions.\n";
    match shell {
        "bash" => Some(format!("{head}{NAMES}{}", bash(tools))),
        "zsh" => Some(zsh(head, tools)),
        "fish" => Some(format!("{head}{FISH}{}", fish(tools))),
        _ => None,
    }
}

fn options(tool: &'static Tool) -> impl Iterator<Item = &'static Opt> {
    tool.options.iter().copied().flatten()
}

/// Is the value of this option a directory?
fn is_directory(option: &Opt) -> bool {
    matches!(option.value, Some("home" | "scandir" | "template" | "envdir"))
}

/// The kind of names that the operands of this tool are.
fn names(tool: &Tool) -> Option<&'static str> {
    let kind = if OF_SLOTS.contains(&tool.name) { "slot" } else { "profile" };
    tool.usage.contains(" profile").then_some(kind)
}

/// Do a program and its arguments follow?
fn has_program(tool: &Tool) -> bool {
    tool.usage.contains("prog...")
}

fn bash(tools: &[&'static Tool]) -> String {
    let (mut arms, mut completes) = (String::new(), String::new());
    for tool in tools {
        let words = |wanted: &dyn Fn(&Opt) -> bool| -> String {
            let words = options(tool).filter(|o| wanted(o)).map(|o| format!("-{} --{} ", o.short, o.long));
            words.collect()
        };
        let (all, directories) = (words(&|_| true), words(&is_directory));
        let values = words(&|o| o.value.is_some() && !is_directory(o));
        let _ = writeln!(arms, "        {})", tool.name);
        let _ = writeln!(arms, "            options='{all}--help --version'");
        let _ = writeln!(arms, "            directories=' {directories}' values=' {values}'");
        let _ = writeln!(arms, "            names={}\n            ;;", names(tool).unwrap_or_default());
        let default = if has_program(tool) { "-o default " } else { "" };
        let _ = writeln!(completes, "complete {default}-F _hermes_s6 {}", tool.name);
    }
    BASH.replace("TOOLS", &arms) + &completes
}

fn zsh(head: &str, tools: &[&'static Tool]) -> String {
    let all: Vec<&str> = tools.iter().map(|tool| tool.name).collect();
    let mut text = format!("#compdef {}\n{head}", all.join(" "));
    // The function is written for POSIX shells.
    text += &NAMES.replacen("() {\n", "() {\n    emulate -L sh\n", 1);
    text += "_hermes_s6_slot() {\n    compadd -- $(_hermes_s6_names slot \"${words[@]}\")\n}\n";
    text += "_hermes_s6_profile() {\n    compadd -- $(_hermes_s6_names profile \"${words[@]}\")\n}\n";
    text += "case $service in\n";
    for tool in tools {
        let _ = write!(text, "    {})\n        _arguments -s ", tool.name);
        for option in options(tool) {
            let help = option.help.replace('\'', "'\\''").replace('[', "\\[").replace(']', "\\]").replace(':', "\\:");
            let (short, long) = (option.short, option.long);
            let (plus, equals, value) = match option.value {
                None => ("", "", String::new()),
                Some(value) if is_directory(option) => ("+", "=", format!(":{value}:_files -/")),
                Some(value) => ("+", "=", format!(":{value}:")),
            };
            let spec = format!("'(-{short} --{long})'{{-{short}{plus},--{long}{equals}}}'[{help}]{value}'");
            let _ = write!(text, "\\\n            {spec} ");
        }
        let _ = write!(text, "\\\n            '--help[the usage]' '--version[the version]'");
        let operand = match (names(tool), has_program(tool)) {
            (Some(kind), true) => format!(" '1:profile:_hermes_s6_{kind}' '*::program:_normal'"),
            (Some(kind), false) => format!(" '*:profile:_hermes_s6_{kind}'"),
            (None, true) => " '*::program:_normal'".to_string(),
            (None, false) => String::new(),
        };
        let _ = writeln!(text, "{operand}\n        ;;");
    }
    text + "esac\n"
}

fn fish(tools: &[&'static Tool]) -> String {
    let mut text = String::new();
    for tool in tools {
        let name = tool.name;
        for option in options(tool) {
            let value = match option.value {
                None => "",
                Some(_) if is_directory(option) => " -x -a '(__fish_complete_directories)'",
                Some(_) => " -x",
            };
            let help = option.help.replace('\\', "\\\\").replace('\'', "\\'");
            let _ = writeln!(text, "complete -c {name} -s {} -l {}{value} -d '{help}'", option.short, option.long);
        }
        let _ = writeln!(text, "complete -c {name} -l help -d 'the usage'");
        let _ = writeln!(text, "complete -c {name} -l version -d 'the version'");
        if !has_program(tool) {
            let _ = writeln!(text, "complete -c {name} -f");
        }
        if let Some(kind) = names(tool) {
            let _ = writeln!(text, "complete -c {name} -a '(__hermes_s6_names {kind})'");
        }
    }
    text
}
