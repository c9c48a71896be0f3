//! A granted folder that changes places with a link to another one, while jails are built around it (incident 68).

use std::{
    fs, io,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use openclaw_wire::{
    drill::{Cell, Mark, Row},
    runner::{Outcome, Task},
};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::json;

use super::{Scene, limits, ready};
use crate::{call::Jailer, running::Handed, spec::Grant};

/// Jails that are built while the folder changes places.
const BUILT: usize = 20;

/// Holds the race.
pub fn row(jailer: &Jailer, scene: &Scene) -> anyhow::Result<Row> {
    let (folder, link) = (scene.folder().join("raced"), scene.folder().join("raced-link"));
    fs::create_dir(&folder)?;
    std::os::unix::fs::symlink("secret", &link)?;
    scene.fill()?;
    let swaps = AtomicU64::new(0);
    let swap = || -> io::Result<()> {
        renameat_with(CWD, &folder, CWD, &link, RenameFlags::EXCHANGE)?;
        swaps.fetch_add(1, Ordering::Relaxed);
        Ok(())
    };
    // Once by hand: whoever follows the path now is in the other folder.
    swap()?;
    let control = fs::read_to_string(folder.join("key.txt"));
    swap()?;

    let mut ready = ready(scene, &[], limits(None));
    let inside = "/files/documents".into();
    ready.spec.grants = vec![Grant { name: "~/raced".into(), host: folder.clone(), inside, write: false }];
    let mut places = scene.places(&[]);
    // The file that lies where the link leads.
    places.secret = "/files/documents".into();
    let task = Task {
        tool: "amount".into(),
        arguments: json!({ "places": places, "name": "read a file outside the grants" }),
    };
    let task = serde_json::to_vec(&task)?;
    let stop = AtomicBool::new(false);
    let (mut got, mut saw, mut refused) = (0, 0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut swapped = Ok(());
            while !stop.load(Ordering::Relaxed) && swapped.is_ok() {
                swapped = swap();
            }
        });
        for _ in 0..BUILT {
            match jailer.run(&ready, task.clone(), Handed::default(), None, |_| ()).outcome {
                Outcome::Output(text) if text.contains("got") => got += 1,
                Outcome::Output(_) => saw += 1,
                Outcome::Failed { .. } => refused += 1,
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let swaps = swaps.load(Ordering::Relaxed);
    let mark = if got > 0 { Mark::Open } else { Mark::Held };
    Ok(Row {
        group: "races".into(),
        name: "swap a granted folder for a link".into(),
        control: match control {
            Ok(_) => Cell { mark: Mark::Open, said: "leads to the other folder".into() },
            Err(error) => Cell { mark: Mark::Untried, said: error.to_string() },
        },
        whole: Cell {
            mark,
            said: format!(
                "{swaps} swaps: {saw} jails saw the folder, {refused} were refused, {got} saw the link's"
            ),
        },
        without: Vec::new(),
    })
}
