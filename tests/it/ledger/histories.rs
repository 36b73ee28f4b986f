//! Seeded histories: requests, releases, expiries, crashes, reboots, clock steps, other policies and capacities,
//! with what must hold looked at after every step. A failing seed prints itself and the shortest history that
//! still fails. `FAIRSHARE_SEEDS` says how many (10 000), `FAIRSHARE_SEED` one alone.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::steps::{Step, history};
use super::world::World;

fn fails(seed: u64, steps: &[Step]) -> Option<String> {
    let run = || {
        let mut world = World::new(seed);
        world.check();
        for step in steps {
            world.run(*step);
            world.check();
        }
    };
    let caught = catch_unwind(AssertUnwindSafe(run)).err()?;
    let said = caught.downcast_ref::<String>().cloned();
    Some(said.or_else(|| caught.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default())
}

/// The shortest history that taking steps away leads to and that still fails (Zeller's ddmin, one chunk at a time).
fn shrunk(seed: u64, mut steps: Vec<Step>) -> Vec<Step> {
    let mut chunk = steps.len() / 2;
    while chunk > 0 {
        let mut at = 0;
        while at < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + chunk).min(steps.len()));
            if fails(seed, &fewer).is_some() {
                steps = fewer;
            } else {
                at += chunk;
            }
        }
        chunk /= 2;
    }
    steps
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: {text:?} is no number")))
}

#[test]
fn ten_thousand_histories_hold() {
    let seeds = match number("FAIRSHARE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("FAIRSHARE_SEEDS").unwrap_or(10_000),
    };
    // Thousands may panic while a history is shrunk; what other tests panic with is told as ever.
    let (hook, own) = (std::panic::take_hook(), std::thread::current().id());
    let hook = std::sync::Arc::new(hook);
    let others = std::sync::Arc::clone(&hook);
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().id() != own {
            others(panic);
        }
    }));
    let failed = seeds.clone().find_map(|seed| Some((seed, fails(seed, &history(seed))?)));
    let told = failed.map(|(seed, why)| {
        let steps = shrunk(seed, history(seed));
        let again = fails(seed, &steps).unwrap_or_default();
        let list: String = steps.iter().map(|step| format!("\n  {step:?}")).collect();
        format!("FAIRSHARE_SEED={seed} fails: {why}\nshrunk to {} steps ({again}):{list}", steps.len())
    });
    std::panic::set_hook(Box::new(move |panic| hook(panic)));
    assert!(told.is_none(), "{}", told.unwrap_or_default());
}
