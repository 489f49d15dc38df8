//! The steps of a push by name, and how a test stops a push at one of them. Compiled in with the feature
//! `fault-points` alone; a program without it has none of this.
//!
//! A push of `shop` that comes to a step looks for `<home>/fault-points/shop.<step>`. If there is such a file, the push
//! writes its process' id to `shop.<step>.reached` beside it and goes on when the file is gone. Meanwhile the test does
//! to it, to the disk, to Docker, to the registry or to Marathon whatever it wants.

/// One line for one step: `reached!(Locked, push.app, platform.home_label);`
macro_rules! reached {
    ($step:ident, $app:expr, $home:expr) => {
        #[cfg(feature = "fault-points")]
        $crate::pipeline::FaultPoint::$step.hold(&$app, ::std::path::Path::new(&$home)).await;
    };
}
pub(crate) use reached;

#[cfg(feature = "fault-points")]
pub use held::FaultPoint;

#[cfg(feature = "fault-points")]
mod held {
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use crate::model::AppName;

    /// How often a held push looks whether it may go on.
    const LOOK_EVERY: Duration = Duration::from_millis(10);

    /// A step of a push, in the order in which a push comes to them.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub enum FaultPoint {
        /// git has the pack, and nobody can see its objects yet.
        Quarantined,
        /// It is to be deployed.
        Admitted,
        /// It has its turn, and what others left is cleaned up.
        Locked,
        /// The tree was looked at.
        SourceRead,
        /// The build has a number, and nothing else.
        BuildBegun,
        /// By a Dockerfile: Docker does its steps.
        DockerfileBegun,
        /// By a Dockerfile: there is an image, of which no record knows, and its steps left others.
        DockerfileBuilt,
        ContainerMade,
        SourceUploaded,
        /// The builder has succeeded.
        BuildEnded,
        /// There is an image, of which no record knows.
        Committed,
        /// The build's record has the image.
        BuildKept,
        /// Later pushes of the tree find it.
        Remembered,
        /// The image has a name in the registry.
        Tagged,
        Published,
        /// The release has a number.
        Recorded,
        ReleaseCommandBegun,
        ReleaseCommandEnded,
        /// From here on the push outlives its client.
        Deploying,
        /// Marathon has it, and the store does not know by which deployment.
        Posted,
        DeploymentNoted,
        /// It serves, and the store does not know.
        Served,
        ServingMarked,
        RefMoved,
        /// It has failed, and is about to be undone.
        RollingBack,
        RolledBack,
    }

    impl FaultPoint {
        pub const ALL: [Self; 26] = [
            Self::Quarantined,
            Self::Admitted,
            Self::Locked,
            Self::SourceRead,
            Self::BuildBegun,
            Self::DockerfileBegun,
            Self::DockerfileBuilt,
            Self::ContainerMade,
            Self::SourceUploaded,
            Self::BuildEnded,
            Self::Committed,
            Self::BuildKept,
            Self::Remembered,
            Self::Tagged,
            Self::Published,
            Self::Recorded,
            Self::ReleaseCommandBegun,
            Self::ReleaseCommandEnded,
            Self::Deploying,
            Self::Posted,
            Self::DeploymentNoted,
            Self::Served,
            Self::ServingMarked,
            Self::RefMoved,
            Self::RollingBack,
            Self::RolledBack,
        ];

        /// The file that holds pushes of the app at this step, for as long as it is there.
        pub fn file(self, home: &Path, app: &AppName) -> PathBuf {
            home.join("fault-points").join(format!("{app}.{self:?}"))
        }

        /// The file that is there once a push is held, with its process' id.
        pub fn reached(self, home: &Path, app: &AppName) -> PathBuf {
            self.file(home, app).with_added_extension("reached")
        }

        /// Waits as long as the step's file is there.
        pub(crate) async fn hold(self, app: &AppName, home: &Path) {
            let file = self.file(home, app);
            if !file.exists() {
                return;
            }
            // Whole when it is there.
            let draft = self.file(home, app).with_added_extension("draft");
            std::fs::write(&draft, std::process::id().to_string()).expect("a test's directory can be written to");
            std::fs::rename(&draft, self.reached(home, app)).expect("a test's directory can be written to");
            while file.exists() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }
}
