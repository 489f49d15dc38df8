//! A full disk while git has the push: before the pipeline begins, and after it has ended.

use paas::pipeline::FaultPoint;

use super::front::{App, Beside, PATIENCE, Scene};
use super::table::{Expected, Fault, Plan, is_in_gits_hands, plan};
use crate::support::fault_points::Hold;

#[test]
fn a_disk_that_is_full_while_git_has_the_push_refuses_it_and_the_next_push_heals() {
    const DISK: u32 = 96 << 10;
    let scene = Scene::start(Some(DISK));
    let mut app = App::start(&scene);
    for point in FaultPoint::ALL.into_iter().filter(|point| is_in_gits_hands(*point)) {
        case(&mut app, &scene, point);
    }
}

fn case(app: &mut App<'_>, scene: &Scene, point: FaultPoint) {
    let Plan::Run(expected) = plan(point, Fault::DiskFull) else { panic!("{point:?} is run") };
    let disk = scene.disk.as_ref().unwrap();
    let (before, page) = (app.branch(), app.page.clone());
    app.prepare(point);
    let hold = Hold::at(point, app.home(), &app.name);
    let mut push = Beside::start(app);
    assert!(hold.reached(PATIENCE, || push.is_over()).is_some(), "it never came to {point:?}: {:?}", push.end());
    disk.fill();
    drop(hold);
    let pushed = push.end();
    match expected {
        Expected::Failure(parts) => {
            assert!(!pushed.accepted && !pushed.output.contains("is live"), "success was said: {pushed:?}");
            for part in parts {
                let said = format!("{}{}", pushed.porcelain, pushed.output);
                assert!(said.contains(part), "no {part:?} in {said}");
            }
            assert_eq!(app.answer(), Some(page), "after {point:?}");
            assert_eq!(app.branch(), before, "the branch moved");
        }
        _ => app.takes_over(&pushed),
    }
    disk.free();

    app.next_page();
    let next = app.push();
    app.takes_over(&next);
    assert_eq!(app.branch(), app.head());
    assert_eq!(app.leftovers(), Vec::<String>::new(), "after the next push");
}
