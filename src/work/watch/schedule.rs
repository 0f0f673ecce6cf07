//! Which runs are due, for which profile and when. The module is pure: the caller passes the time.
//!
//! The account can make and remove profiles as it likes, so everything here has a bound: one run at a time for a name,
//! a few runs at a time altogether, a pause between two runs for a name. A slow run does not delay the runs for other
//! names: retiring a profile drains its gateway, which may take a minute.

use crate::ground::profile::Profile;
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// At most this many runs younger than `YOUNG` at a time. An older run is waiting for something, such as a drain, and
/// does not count.
const ABREAST: usize = 4;
const YOUNG: Duration = Duration::from_millis(500);
/// At most this many runs at a time, of any age, and at most `MOST_GONE` of them for profiles that are gone, which
/// drain. The difference is for profiles that appear.
const MOST: usize = 24;
const MOST_GONE: usize = 16;
/// The pause between two runs for one name.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a name is remembered after a run for it. The run may have met a profile that came back for a moment, and
/// made a slot. As long as the name is remembered, it is not fresh, so the removal of the profile leads to another run.
const STILL: Duration = Duration::from_secs(60);
/// A failed run is tried again after this time. The time is doubled with each failure, up to 256 times as long.
const RETRY: Duration = Duration::from_secs(1);
/// A run that has failed more often than this is not likely to succeed soon. All such runs together take at most one part
/// in `SHARE` of the time: the account can make any number of profiles for which s6-svscan has no room.
const TRIES: u32 = 8;
const SHARE: u32 = 20;

/// A change of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// There was no profile of this name, and now there is.
    Appeared,
    /// There is a profile of this name, but another one than before.
    Renewed,
    /// There was a profile of this name, and now there is none.
    Gone,
}

/// The queues of runs.
#[derive(Debug, Default)]
pub struct Schedule {
    names: HashMap<Profile, Work>,
    /// The names in each `Class`, with the time from which they may run.
    queues: [BTreeSet<(Instant, Profile)>; 4],
    running: Vec<Running>,
    /// When the next `Class::Hopeless` run may start.
    hopeless_from: Option<Instant>,
    tidied: Option<Instant>,
}

/// Why a run is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// There is a profile of this name.
    Here,
    /// There is no profile of this name any more.
    Gone,
    /// Nothing has happened to this name. One such run at a time goes on beside the others.
    Calm,
    /// The runs for this name have failed more than `TRIES` times.
    Hopeless,
}

#[derive(Debug)]
struct Work {
    queued: Option<(Class, Instant)>,
    running: bool,
    /// The class of a change that came while the run for this name went on.
    again: Option<Class>,
    /// The profile has appeared, and nothing was run for it yet. If it goes again, nothing needs to be run. So names
    /// that come and go faster than runs can be started do not pile up.
    fresh: bool,
    ended: Option<Instant>,
    failures: u32,
}

#[derive(Debug)]
struct Running {
    profile: Profile,
    class: Class,
    since: Instant,
}

impl Schedule {
    /// Queue a run for this profile with low priority, although nothing has happened to it.
    pub fn calmly(&mut self, profile: Profile, now: Instant) {
        self.queue(profile, Class::Calm, now, false);
    }

    /// Queue a run because of a change of this name.
    pub fn changed(&mut self, profile: Profile, change: Change, now: Instant) {
        let class = if change == Change::Gone { Class::Gone } else { Class::Here };
        if let Some(work) = self.names.get_mut(&profile) {
            // The change may have removed the cause of earlier failures.
            work.failures = 0;
            if change == Change::Gone && work.fresh {
                if let Some((class, due)) = work.queued {
                    self.queues[class as usize].remove(&(due, profile.clone()));
                }
                self.names.remove(&profile);
                return;
            }
        }
        self.queue(profile, class, now, change == Change::Appeared);
    }

    /// Queue a run for a name that came back for a moment and is gone again, if there was a run for the name lately:
    /// that run may have met the profile, and made a slot.
    pub fn touched(&mut self, profile: Profile, now: Instant) {
        if self.names.get(&profile).is_some_and(|work| !work.fresh) {
            self.queue(profile, Class::Gone, now, false);
        }
    }

    /// Queue runs after the kernel has dropped events. A run is queued for each name whose last run still goes on, or
    /// has ended after `since`, which is when the last look began. Such a run may have met another state than both
    /// looks have found. `has` says whether there is a profile of this name.
    pub fn lost(&mut self, since: Instant, has: impl Fn(&Profile) -> bool, now: Instant) {
        let recent = |work: &Work| work.running || work.ended.is_some_and(|ended| ended >= since);
        let names: Vec<_> = self.names.iter().filter(|(_, work)| recent(work)).map(|(name, _)| name.clone()).collect();
        for name in names {
            let class = if has(&name) { Class::Here } else { Class::Gone };
            self.queue(name, class, now, false);
        }
    }

    /// The next profile for which a run is due. It counts as running from now on.
    pub fn take(&mut self, now: Instant) -> Option<Profile> {
        let of = |classes: &[Class], young: bool| {
            self.running.iter().filter(|r| classes.contains(&r.class) && (!young || now < r.since + YOUNG)).count()
        };
        let busy = of(&[Class::Here, Class::Gone], true) >= ABREAST;
        let may = |class: Class| match class {
            Class::Here => !busy && self.running.len() < MOST,
            Class::Gone => !busy && self.running.len() < MOST_GONE,
            Class::Calm => of(&[Class::Calm], true) == 0 && self.running.len() < MOST_GONE,
            Class::Hopeless => of(&[Class::Hopeless], false) == 0 && self.running.len() < MOST_GONE,
        };
        // Of runs due at the same time, those for profiles that are gone come first: after a rename, the old name has
        // to release what the new one needs.
        let (due, class) = [Class::Gone, Class::Here, Class::Calm, Class::Hopeless]
            .into_iter()
            .filter(|class| may(*class))
            .filter_map(|class| Some((self.due(class)?, class)))
            .min_by_key(|(due, _)| *due)?;
        if due > now {
            return None;
        }
        let (_, profile) = self.queues[class as usize].pop_first()?;
        let work = self.names.get_mut(&profile)?;
        (work.queued, work.running, work.fresh) = (None, true, false);
        self.running.push(Running { profile: profile.clone(), class, since: now });
        Some(profile)
    }

    /// When the first run of this class is due.
    fn due(&self, class: Class) -> Option<Instant> {
        let due = self.queues[class as usize].first()?.0;
        let from = self.hopeless_from.filter(|_| class == Class::Hopeless);
        Some(from.map_or(due, |from| due.max(from)))
    }

    /// Have the runs for this profile failed so far, since something has happened to it?
    pub fn has_failed(&self, profile: &Profile) -> bool {
        self.names.get(profile).is_some_and(|work| work.failures > 0)
    }

    /// Note that the run for this profile has ended. `again` says that it failed in a way that may not last.
    pub fn ended(&mut self, profile: &Profile, again: bool, now: Instant) {
        if let Some(at) = self.running.iter().position(|r| r.profile == *profile) {
            let Running { class, since, .. } = self.running.swap_remove(at);
            if class == Class::Hopeless {
                self.hopeless_from = Some(now + now.saturating_duration_since(since) * SHARE);
            }
        }
        let Some(work) = self.names.get_mut(profile) else { return };
        work.running = false;
        work.ended = Some(now);
        work.failures = if again { work.failures + 1 } else { 0 };
        if let Some(class) = work.again.take() {
            self.queue(profile.clone(), class, now, false);
        } else if again {
            let class = if work.failures > TRIES { Class::Hopeless } else { Class::Calm };
            let due = now + RETRY * (1 << (work.failures - 1).min(8));
            self.queue(profile.clone(), class, due, false);
        }
        self.tidy(now);
    }

    /// When to call `take` again if it has just returned `None` and no run ends before.
    pub fn wake(&self, now: Instant) -> Option<Instant> {
        let first = [Class::Gone, Class::Here, Class::Calm, Class::Hopeless].into_iter().filter_map(|c| self.due(c));
        let grown_up = self.running.iter().map(|r| r.since + YOUNG).filter(|at| *at > now);
        let waiting = first.clone().any(|due| due <= now);
        first.filter(|due| *due > now).chain(grown_up.filter(|_| waiting)).min()
    }

    /// Queue a run for the time `due`. It does not start while another run for this name goes on, or in the pause after
    /// that.
    fn queue(&mut self, profile: Profile, class: Class, due: Instant, fresh: bool) {
        let work = self.names.entry(profile.clone()).or_insert(Work {
            queued: None,
            running: false,
            again: None,
            fresh,
            ended: None,
            failures: 0,
        });
        if work.running {
            work.again = Some(class);
            return;
        }
        let mut due = work.ended.map_or(due, |ended| due.max(ended + PAUSE));
        if let Some((class, before)) = work.queued {
            self.queues[class as usize].remove(&(before, profile.clone()));
            // A name that is queued already keeps its earlier time.
            due = due.min(before);
        }
        work.queued = Some((class, due));
        self.queues[class as usize].insert((due, profile));
    }

    /// From time to time, forget the names for which nothing is to be done.
    fn tidy(&mut self, now: Instant) {
        if self.tidied.is_none_or(|last| now >= last + PAUSE) {
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
    fn a_name_that_flaps_is_run_once_in_a_pause() {
        let (mut s, mut t) = (Schedule::default(), Instant::now());
        for n in 0..20 {
            s.changed(name("flap"), Change::Renewed, t);
            let due = s.wake(t).unwrap_or(t);
            assert_eq!(due - t, if n == 0 { ms(0) } else { PAUSE });
            t = due;
            assert_eq!(taken(&mut s, t), ["flap"]);
            s.ended(&name("flap"), false, t);
        }
    }

    /// The account can make any number of profiles for which there is no room.
    #[test]
    fn a_crowd_of_hopeless_runs_takes_a_twentieth_of_the_time_and_delays_no_young_retry() {
        let (mut s, mut t) = (Schedule::default(), Instant::now());
        let crowd: Vec<Profile> = (0..100).map(|n| name(&format!("p{n:02}"))).collect();
        crowd.iter().for_each(|p| s.changed(p.clone(), Change::Appeared, t));
        let (mut busy, mut begun) = (Duration::ZERO, None);
        let end = t + Duration::from_secs(36_000);
        while t < end {
            let hopeless = crowd.iter().all(|p| s.names[p].failures > TRIES);
            if hopeless && begun.is_none() {
                (busy, begun) = (Duration::ZERO, Some(t));
                s.changed(name("young"), Change::Appeared, t);
                let mut runs = taken(&mut s, t);
                runs.retain(|p| p == "young");
                assert_eq!(runs, ["young"]);
                s.ended(&name("young"), true, t);
                t += RETRY;
                assert!(taken(&mut s, t).contains(&"young".to_string()), "the crowd keeps a retry waiting");
                s.ended(&name("young"), false, t);
            }
            let running: Vec<Profile> = s.running.iter().map(|r| r.profile.clone()).collect();
            for profile in running {
                (busy, t) = (busy + ms(200), t + ms(200));
                s.ended(&profile, true, t);
            }
            if taken(&mut s, t).is_empty() {
                let Some(wake) = s.wake(t) else { break };
                t = wake;
            }
        }
        let took = t - begun.expect("all are hopeless in the end");
        assert!(busy * (SHARE - 1) <= took, "{busy:?} of {took:?}");
        assert!(busy * (SHARE * 2) >= took, "nothing is tried any more: {busy:?} of {took:?}");
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
        // The name now belongs to another profile, whose failures are counted anew.
        s.ended(&name("coder"), true, t + ms(101));
        assert_eq!(s.wake(t + ms(101)), Some(t + ms(101) + RETRY));
        assert_eq!(taken(&mut s, t + ms(101) + RETRY), ["coder"]);
        s.ended(&name("coder"), false, t + ms(1102));
        assert_eq!(s.wake(t + ms(1102)), None);
    }

    #[test]
    fn after_lost_events_there_is_one_more_run_for_each_name_whose_run_the_last_look_did_not_follow() {
        let (mut s, t) = (Schedule::default(), Instant::now());
        for n in 0..4 {
            s.changed(name(&format!("p{n}")), Change::Renewed, t);
        }
        assert_eq!(taken(&mut s, t), ["p0", "p1", "p2", "p3"]);
        s.ended(&name("p0"), false, t + ms(10));
        s.ended(&name("p1"), false, t + ms(30));
        s.ended(&name("p2"), false, t + ms(40));
        s.lost(t + ms(20), |profile| profile.as_str() == "p1", t + ms(50));
        assert_eq!(taken(&mut s, t + ms(200)), ["p1", "p2"]);
        s.ended(&name("p3"), false, t + ms(300));
        assert_eq!(taken(&mut s, t + ms(400)), ["p3"]);
    }

    #[test]
    fn names_for_which_nothing_is_to_be_done_are_forgotten() {
        let (mut s, t) = (Schedule::default(), Instant::now());
        for n in 0..1000u32 {
            let now = t + PAUSE * n;
            s.changed(name(&format!("p{n}")), Change::Gone, now);
            assert!(s.take(now).is_some());
            s.ended(&name(&format!("p{n}")), false, now);
        }
        let lately = (STILL.as_millis() / PAUSE.as_millis()) as usize;
        assert!(s.names.len() <= lately + 2, "{}", s.names.len());
    }

    /// A generator of pseudo-random numbers (xorshift64), which gives the same sequence for the same seed.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, n: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % n
        }
    }

    /// The model of a name: whether there is a profile on the volume, and what was run for the name.
    #[derive(Default)]
    struct Model {
        real: bool,
        /// Did the last run meet a profile when it began? `None` after a failed run.
        seen: Option<bool>,
        /// A run has to begin yet.
        owed: bool,
        running: Option<Instant>,
        ended: Option<Instant>,
    }

    impl Model {
        fn changed(&mut self, renewed: bool) -> Change {
            let change = match (self.real, renewed) {
                (false, _) => Change::Appeared,
                (true, true) => Change::Renewed,
                (true, false) => Change::Gone,
            };
            self.real = change != Change::Gone;
            // If the profile came and went before its turn, no run is owed.
            self.owed = self.running.is_some() || self.real || self.seen != Some(false);
            change
        }
    }

    #[test]
    fn whatever_happens_no_name_runs_twice_at_once_no_change_is_lost_and_all_bounds_hold() {
        for seed in 1..=40 {
            let (mut s, mut dice, mut t) = (Schedule::default(), Dice(seed), Instant::now());
            let mut models: Vec<Model> = (0..100).map(|_| Model { seen: Some(false), ..Model::default() }).collect();
            for step in 0..3000 {
                let n = dice.below(100) as usize;
                let (profile, model) = (name(&format!("p{n}")), &mut models[n]);
                // The last steps only let time pass. After them no run may be owed.
                match if step < 2000 { dice.below(8) } else { 7 } {
                    0..=2 => {
                        let change = model.changed(dice.below(3) == 0);
                        s.changed(profile, change, t);
                    }
                    3 => s.calmly(profile, t),
                    4 | 5 if model.running.is_some() => {
                        let again = dice.below(4) == 0;
                        s.ended(&profile, again, t);
                        (model.running, model.ended) = (None, Some(t));
                        if again {
                            (model.owed, model.seen) = (true, None);
                        }
                    }
                    _ => t += ms(dice.below(if step < 2000 { 200 } else { 2000 })),
                }
                while let Some(profile) = s.take(t) {
                    let n: usize = profile.as_str()[1..].parse().unwrap();
                    let model = &mut models[n];
                    assert!(model.running.is_none(), "seed {seed}, step {step}: p{n} twice at once");
                    assert!(
                        model.ended.is_none_or(|ended| t >= ended + PAUSE),
                        "seed {seed}, step {step}: p{n} too soon"
                    );
                    (model.owed, model.seen, model.running) = (false, Some(model.real), Some(t));
                }
                let running: Vec<&Model> = models.iter().filter(|m| m.running.is_some()).collect();
                let young = running.iter().filter(|m| m.running.is_some_and(|since| t < since + YOUNG)).count();
                assert!(running.len() <= MOST && young <= ABREAST + 1, "seed {seed}, step {step}");
                let due = s.queues.iter().filter_map(|q| Some(q.first()?.0)).min();
                let full = running.len() >= MOST_GONE;
                assert!(
                    full || due.is_none_or(|due| due > t) || s.wake(t).is_some(),
                    "seed {seed}, step {step}: asleep"
                );
                if step >= 2000 {
                    for (n, model) in models.iter_mut().enumerate().filter(|(_, m)| m.running.is_some()) {
                        s.ended(&name(&format!("p{n}")), false, t);
                        (model.running, model.ended) = (None, Some(t));
                    }
                }
            }
            let owed = models.iter().position(|m| m.owed);
            assert_eq!(owed, None, "seed {seed}: a change was lost");
            assert!(s.queues.iter().all(BTreeSet::is_empty) && s.running.is_empty(), "seed {seed}");
        }
    }
}
