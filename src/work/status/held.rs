//! The reason why a gateway is held, from `data/held`: as one word for the table, and as words for `-x`.

use crate::s6::programs::OUT_OF_MEMORY;

/// The reason as one word, such as `exit-78`, `signal-11` or `out-of-memory`. A reason in another format, from another template, keeps
/// its text.
pub fn note(held: &str) -> String {
    end(held).map_or_else(|| held.replace(' ', ";"), |end| end.replace(' ', "-"))
}

/// The reason in words.
pub fn words(held: &str) -> String {
    match (end(held), number(held, "deaths")) {
        (Some(_), Some(deaths)) if is_out_of_memory(held) => format!("the kernel killed it {deaths} times for memory"),
        (None, _) => format!("its finish has given up: {held}"),
        (Some(end), Some(deaths)) if deaths > 1 => format!("it ended {deaths} times, the last time with {end}"),
        (Some(end), _) => format!("it ended with {end}, a permanent error"),
    }
}

/// Did the kernel kill the gateway for memory?
pub fn is_out_of_memory(held: &str) -> bool {
    number(held, "memory") == Some(1)
}

/// The limit of the gateway's memory in MiB, if it had one.
pub fn limit(held: &str) -> Option<u64> {
    number(held, "limit")
}

fn end(held: &str) -> Option<String> {
    match (number(held, "code")?, number(held, "signal")) {
        _ if is_out_of_memory(held) => Some(OUT_OF_MEMORY.to_string()),
        (256.., Some(signal)) => Some(format!("signal {signal}")),
        (code, _) => Some(format!("exit {code}")),
    }
}

fn number(held: &str, key: &str) -> Option<u64> {
    held.split(' ').find_map(|field| field.strip_prefix(key)?.strip_prefix('=')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::{note, words};

    #[test]
    fn what_holds_a_gateway_is_said_in_a_word_and_in_words() {
        for (held, in_a_word, in_words) in [
            ("code=78 signal=0 deaths=1 time=1 pid=2", "exit-78", "it ended with exit 78, a permanent error"),
            ("code=3 signal=0 deaths=5 time=1 pid=2", "exit-3", "it ended 5 times, the last time with exit 3"),
            ("code=256 signal=11 deaths=5 time=1 pid=2", "signal-11", "it ended 5 times, the last time with signal 11"),
            (
                "code=256 signal=9 deaths=10 time=1 pid=2 memory=1 limit=64",
                "out-of-memory",
                "the kernel killed it 10 times for memory",
            ),
            ("somebody's own", "somebody's;own", "its finish has given up: somebody's own"),
        ] {
            assert_eq!((note(held).as_str(), words(held).as_str()), (in_a_word, in_words));
        }
    }
}
