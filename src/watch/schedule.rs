//! What is run for whom, and when. Pure: it is told the time.
//!
//! The account makes and removes profiles as it likes, so everything here has a bound: one run at a time for a name, a few
//! at a time altogether, a pause between the runs of a name that flaps. None of that lets one name wait for another one
//! that is slow: retiring a profile drains its gateway, which may take a minute.

use crate::profile::Profile;
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// So many runs at a time. One that is older than `YOUNG` waits for something, and is not counted any more.
const ABREAST: usize = 4;
const YOUNG: Duration = Duration::from_millis(500);
/// So many runs at a time, whatever they do; and so many of those, at most, for profiles that are gone, which drain.
const MOST: usize = 64;
const MOST_GONE: usize = 48;
/// The pause between two runs for one name. From the `MANY`th on it doubles each time, until the name has kept still.
const PAUSE: Duration = Duration::from_millis(100);
const MANY: u32 = 8;
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const STILL: Duration = Duration::from_secs(10);
/// A run that failed is tried again after this, doubled each time, up to 256 times as long.
const RETRY: Duration = Duration::from_secs(1);

/// What happened to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is a profile, and was none.
    Appeared,
    /// It is a profile, but another one than before.
    Renewed,
    /// It was a profile, and is none.
    Gone,
}

/// Whose turn is when.
#[derive(Debug, Default)]
pub struct Schedule {
    names: HashMap<Profile, Work>,
    /// Names with the time from which they may run, by `Class`.
    queues: [BTreeSet<(Instant, Profile)>; 3],
    running: Vec<Running>,
    tidied: Option<Instant>,
}

/// Why a run is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// A profile is there.
    Here,
    /// A profile is gone.
    Gone,
    /// Nothing has happened; one of these runs at a time, beside the others.
    Calm,
}

#[derive(Debug)]
struct Work {
    queued: Option<(Class, Instant)>,
    running: bool,
    /// What happened while it ran.
    again: Option<Class>,
    /// It appeared and nothing was run for it yet: if it goes again, nothing needs to be.
    fresh: bool,
    ended: Option<Instant>,
    /// Runs since it last kept still.
    runs: u32,
    failures: u32,
}

impl Work {
    fn pause(&self) -> Duration {
        LONGEST_PAUSE.min(PAUSE * (1 << self.runs.saturating_sub(MANY).min(10)))
    }
}

#[derive(Debug)]
struct Running {
    profile: Profile,
    class: Class,
    since: Instant,
}

impl Schedule {
    /// Run for this profile at leisure, although nothing has happened to it.
    pub fn calmly(&mut self, profile: Profile, now: Instant) {
        self.queue(profile, Class::Calm, now, false);
    }

    /// Something happened to this name.
    pub fn changed(&mut self, profile: Profile, change: Change, now: Instant) {
        let class = if change == Change::Gone { Class::Gone } else { Class::Here };
        if let Some(work) = self.names.get_mut(&profile) {
            // What it failed at may be over.
            work.failures = 0;
            if work.running {
                work.again = Some(class);
                return;
            }
            if change == Change::Gone && work.fresh {
                if let Some((class, due)) = work.queued {
                    self.queues[class as usize].remove(&(due, profile.clone()));
                }
                self.names.remove(&profile);
                return;
            }
            let due = work.ended.map_or(now, |ended| now.max(ended + work.pause()));
            self.queue(profile, class, due, false);
        } else {
            self.queue(profile, class, now, change == Change::Appeared);
        }
    }

    /// Whose turn is it? It counts as running from now on.
    pub fn take(&mut self, now: Instant) -> Option<Profile> {
        let young = |calm: bool| {
            self.running.iter().filter(|r| (r.class == Class::Calm) == calm && now < r.since + YOUNG).count()
        };
        let (busy, calm_busy) = (young(false) >= ABREAST, young(true) > 0);
        let may = |class: Class| match class {
            Class::Here => !busy && self.running.len() < MOST,
            Class::Gone => !busy && self.running.len() < MOST_GONE,
            Class::Calm => !calm_busy && self.running.len() < MOST_GONE,
        };
        // At the same time the gone are first: the old name of a renamed profile lets go of what the new one needs.
        let (due, class) = [Class::Gone, Class::Here, Class::Calm]
            .into_iter()
            .filter(|class| may(*class))
            .filter_map(|class| Some((self.queues[class as usize].first()?.0, class)))
            .min_by_key(|(due, _)| *due)?;
        if due > now {
            return None;
        }
        let (_, profile) = self.queues[class as usize].pop_first()?;
        let work = self.names.get_mut(&profile)?;
        (work.queued, work.running, work.fresh) = (None, true, false);
        let flaps = work.ended.is_some_and(|ended| now < ended + STILL);
        work.runs = if flaps { work.runs + 1 } else { 1 };
        self.running.push(Running { profile: profile.clone(), class, since: now });
        Some(profile)
    }

    /// The run for this profile has ended; `again` if it failed in a way that may not last.
    pub fn ended(&mut self, profile: &Profile, again: bool, now: Instant) {
        self.running.retain(|r| r.profile != *profile);
        let Some(work) = self.names.get_mut(profile) else { return };
        work.running = false;
        work.ended = Some(now);
        work.failures = if again { work.failures + 1 } else { 0 };
        if let Some(class) = work.again.take() {
            let due = now + work.pause();
            self.queue(profile.clone(), class, due, false);
        } else if again {
            let due = now + RETRY * (1 << (work.failures - 1).min(8));
            self.queue(profile.clone(), Class::Calm, due, false);
        }
        self.tidy(now);
    }

    /// When `take` may have an answer that it does not have now, if nothing ends before.
    pub fn wake(&self, now: Instant) -> Option<Instant> {
        let first = self.queues.iter().filter_map(|queue| Some(queue.first()?.0));
        let grown_up = self.running.iter().map(|r| r.since + YOUNG).filter(|at| *at > now);
        let waiting = first.clone().any(|due| due <= now);
        first.filter(|due| *due > now).chain(grown_up.filter(|_| waiting)).min()
    }

    fn queue(&mut self, profile: Profile, class: Class, due: Instant, fresh: bool) {
        let work = self.names.entry(profile.clone()).or_insert(Work {
            queued: None,
            running: false,
            again: None,
            fresh,
            ended: None,
            runs: 0,
            failures: 0,
        });
        let mut due = due;
        if let Some((class, before)) = work.queued {
            self.queues[class as usize].remove(&(before, profile.clone()));
            // It keeps its place.
            due = due.min(before);
        }
        work.queued = Some((class, due));
        self.queues[class as usize].insert((due, profile));
    }

    /// Forget names that have kept still.
    fn tidy(&mut self, now: Instant) {
        if self.tidied.is_none_or(|last| now >= last + STILL) {
            self.tidied = Some(now);
            self.names.retain(|_, work| {
                work.queued.is_some() || work.running || work.ended.is_some_and(|ended| now < ended + STILL)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Profile {
        Profile::from_bytes(text.as_bytes()).unwrap()
    }

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn taken(schedule: &mut Schedule, now: Instant) -> Vec<String> {
        std::iter::from_fn(|| schedule.take(now)).map(|p| p.to_string()).collect()
    }

    #[test]
    fn a_burst_for_one_name_is_one_run_and_a_change_while_it_runs_is_one_more() {
        let (mut s, t) = (Schedule::default(), Instant::now());
        for change in [Change::Appeared, Change::Renewed, Change::Renewed] {
            s.changed(name("coder"), change, t);
        }
        assert_eq!(taken(&mut s, t), ["coder"]);
        for change in [Change::Gone, Change::Appeared, Change::Gone] {
            s.changed(name("coder"), change, t + ms(1));
        }
        assert_eq!((taken(&mut s, t + ms(1000)), s.wake(t + ms(1000))), (vec![], None));
        s.ended(&name("coder"), false, t + ms(2000));
        assert_eq!((taken(&mut s, t + ms(2000)), s.wake(t + ms(2000))), (vec![], Some(t + ms(2100))));
        assert_eq!(taken(&mut s, t + ms(2100)), ["coder"]);
        s.ended(&name("coder"), false, t + ms(2200));
        assert_eq!((taken(&mut s, t + ms(9000)), s.wake(t + ms(9000))), (vec![], None));
    }

    #[test]
    fn what_came_and_went_before_its_turn_needs_no_run_but_what_was_there_does() {
        let (mut s, t) = (Schedule::default(), Instant::now());
        s.changed(name("short"), Change::Appeared, t);
        s.changed(name("short"), Change::Gone, t);
        s.calmly(name("old"), t);
        s.changed(name("old"), Change::Gone, t);
        s.changed(name("unknown"), Change::Gone, t);
        assert_eq!(taken(&mut s, t), ["old", "unknown"]);
        assert!(s.queues.iter().all(BTreeSet::is_empty) && s.names.len() == 2);
    }

    #[test]
    fn four_run_abreast_and_a_slow_one_holds_up_nobody() {
        let (mut s, t) = (Schedule::default(), Instant::now());
        for n in 0..10 {
            s.changed(name(&format!("p{n}")), Change::Appeared, t);
        }
        assert_eq!(taken(&mut s, t), ["p0", "p1", "p2", "p3"]);
        assert_eq!(s.wake(t), Some(t + YOUNG));
        s.ended(&name("p2"), false, t + ms(3));
        assert_eq!(taken(&mut s, t + ms(3)), ["p4"]);
        assert_eq!(taken(&mut s, t + YOUNG), ["p5", "p6", "p7"]);
    }

    #[test]
    fn a_hundred_that_drain_leave_room_for_one_that_appears() {
        let (mut s, t) = (Schedule::default(), Instant::now());
        for n in 0..100 {
            s.changed(name(&format!("p{n}")), Change::Gone, t);
        }
        let drained: usize = (0..100).map(|n| taken(&mut s, t + YOUNG * n).len()).sum();
        assert_eq!(drained, MOST_GONE);
        s.changed(name("new"), Change::Appeared, t + YOUNG * 100);
        assert_eq!(taken(&mut s, t + YOUNG * 100), ["new"]);
        s.ended(&name("p0"), false, t + YOUNG * 101);
        assert_eq!(taken(&mut s, t + YOUNG * 101), Vec::<String>::new(), "the one that appeared took the room");
    }

    #[test]
    fn the_sweep_runs_one_at_a_time_and_yields_to_nobody_for_ever() {
        let (mut s, t) = (Schedule::default(), Instant::now());
        for n in 0..3 {
            s.calmly(name(&format!("old{n}")), t);
            s.changed(name(&format!("new{n}")), Change::Appeared, t + ms(1));
        }
        assert_eq!(taken(&mut s, t + ms(1)), ["old0", "new0", "new1", "new2"]);
        s.ended(&name("old0"), false, t + ms(2));
        assert_eq!(taken(&mut s, t + ms(2)), ["old1"]);
    }

    #[test]
    fn a_name_that_flaps_waits_longer_each_time_and_starts_afresh_when_it_has_kept_still() {
        let (mut s, mut t) = (Schedule::default(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..17 {
            s.changed(name("flap"), Change::Renewed, t);
            let due = s.wake(t).unwrap_or(t);
            pauses.push((due - t).as_millis());
            t = due;
            assert_eq!(taken(&mut s, t), ["flap"]);
            s.ended(&name("flap"), false, t);
        }
        assert_eq!(pauses[..9], [0, 100, 100, 100, 100, 100, 100, 100, 100]);
        assert_eq!(pauses[9..], [200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
        t += STILL;
        s.changed(name("flap"), Change::Gone, t);
        assert_eq!(taken(&mut s, t), ["flap"]);
        s.ended(&name("flap"), false, t);
        s.changed(name("flap"), Change::Appeared, t);
        assert_eq!(s.wake(t), Some(t + PAUSE));
    }

    #[test]
    fn a_failure_is_tried_again_ever_later_and_a_change_comes_before_that() {
        let (mut s, mut t) = (Schedule::default(), Instant::now());
        s.changed(name("coder"), Change::Appeared, t);
        for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 256] {
            assert_eq!(taken(&mut s, t), ["coder"]);
            s.ended(&name("coder"), true, t);
            assert_eq!(s.wake(t), Some(t + Duration::from_secs(seconds)));
            t += Duration::from_secs(seconds);
        }
        assert_eq!(taken(&mut s, t), ["coder"]);
        s.ended(&name("coder"), true, t);
        s.changed(name("coder"), Change::Renewed, t + ms(1));
        assert_eq!(taken(&mut s, t + ms(100)), ["coder"]);
        // It is another profile now, whose failures have yet to come.
        s.ended(&name("coder"), true, t + ms(101));
        assert_eq!(s.wake(t + ms(101)), Some(t + ms(101) + RETRY));
        assert_eq!(taken(&mut s, t + ms(101) + RETRY), ["coder"]);
        s.ended(&name("coder"), false, t + ms(1102));
        assert_eq!(s.wake(t + ms(1102)), None);
    }

    #[test]
    fn names_that_kept_still_are_forgotten() {
        let (mut s, t) = (Schedule::default(), Instant::now());
        for n in 0..1000u32 {
            let now = t + STILL * n;
            s.changed(name(&format!("p{n}")), Change::Gone, now);
            assert!(s.take(now).is_some());
            s.ended(&name(&format!("p{n}")), false, now);
        }
        assert!(s.names.len() <= 2, "{}", s.names.len());
    }
}
