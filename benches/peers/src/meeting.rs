//! How the two processes of a measurement find each other: a socket beside the channel under test.
//!
//! Which end of a channel has to exist first differs from contender to contender, so each settles the
//! order itself, by [`Meeting::tell`] and [`Meeting::hear`]. Nothing polls, and nothing of this is on
//! while the clock runs.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// One process's view of the meeting.
pub struct Meeting {
    stream: BufReader<UnixStream>,
    directory: PathBuf,
    topic: String,
}

impl Meeting {
    /// A meeting over `stream`, with `directory` in shared memory for whatever needs a path.
    pub fn new(stream: UnixStream, directory: PathBuf) -> Self {
        Self { stream: BufReader::new(stream), directory, topic: String::new() }
    }

    /// Names the channel that is opened next, alike in both processes.
    pub fn open(&mut self, topic: &str) {
        topic.clone_into(&mut self.topic);
    }

    /// A name for that channel which is in use nowhere else on this machine.
    pub fn name(&self) -> String {
        let directory = self.directory.file_name().unwrap_or_default().to_string_lossy();
        format!("{directory}-{}", self.topic)
    }

    /// A path in shared memory where nothing is yet.
    pub fn path(&self) -> PathBuf {
        self.directory.join(&self.topic)
    }

    /// A directory in shared memory that both processes share.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Tells the other process something, in one line.
    ///
    /// # Errors
    ///
    /// If it has ended.
    pub fn tell(&mut self, line: &str) -> Result<()> {
        debug_assert!(!line.contains('\n'));
        let stream = self.stream.get_mut();
        stream.write_all(format!("{line}\n").as_bytes()).context("the other process ended")
    }

    /// Waits for what the other process tells.
    ///
    /// # Errors
    ///
    /// If it has ended.
    pub fn hear(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).context("the other process ended")?;
        ensure!(line.ends_with('\n'), "the other process ended");
        line.pop();
        Ok(line)
    }

    /// Waits until the other process is here too.
    ///
    /// # Errors
    ///
    /// If it has ended.
    pub fn sync(&mut self) -> Result<()> {
        self.tell("here")?;
        self.hear()?;
        Ok(())
    }
}
