//! Reloads of the proxy's configuration, while closes go on being told.
//!
//! What the host is asked may take long: a name server that does not answer. So it is asked on a
//! thread of its own, and the loop puts the configuration in place once the answers are there. One
//! reload at a time; whoever asks meanwhile gets one that begins afterwards, as his files may be newer.

use super::proxy::{Reloaded, Running};
use super::{Daemon, Source};
use crate::admin::reload::IN_PLACE;
use crate::host::Answers;
use crate::labels::Labels;
use anyhow::Context as _;
use std::future::pending;
use std::sync::Arc;
use tokio::sync::oneshot;

/// What an observer alone answers.
const NO_PROXY: &str = "This daemon has no proxy: there is nothing to read anew.\n";

/// What the host answered, or why it could not be asked.
type Told = anyhow::Result<Option<Answers>>;

/// Who waits for a reload.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    /// The one that is under way, and who asked for it.
    under_way: Option<(oneshot::Receiver<Told>, Vec<oneshot::Sender<String>>)>,
    /// Who asked since it began.
    next: Vec<oneshot::Sender<String>>,
}

impl Reloads {
    /// Waits for the answers to the reload that is under way, if one is. Cancel safe.
    pub(super) async fn told(&mut self) -> Told {
        let Some((answers, _)) = &mut self.under_way else { return pending().await };
        answers.await.context("the thread that asks the host for a reload has failed")?
    }
}

/// Asks the host on a thread of its own.
fn begin(proxy: Arc<Running>) -> std::io::Result<oneshot::Receiver<Told>> {
    let (tell, told) = oneshot::channel();
    let thread = std::thread::Builder::new().name("reload".to_owned());
    // A daemon that has ended meanwhile wants no answers.
    thread.spawn(move || drop(tell.send(proxy.ask_host())))?;
    Ok(told)
}

impl<S: Source> Daemon<S> {
    /// Reads the proxy's configuration anew, now or after the reload that is under way; `asker` is
    /// told what came of it.
    pub(super) fn ask_to_reload(&mut self, asker: oneshot::Sender<String>) {
        let Some(proxy) = self.proxy.clone() else { return say(vec![asker], NO_PROXY) };
        self.reloads.next.push(asker);
        if self.reloads.under_way.is_some() {
            return;
        }
        let askers = std::mem::take(&mut self.reloads.next);
        match begin(proxy) {
            Ok(answers) => self.reloads.under_way = Some((answers, askers)),
            Err(error) => say(askers, &runs_on(&error.into())),
        }
    }

    /// Puts the configuration in place of which the host has told.
    pub(super) fn put_in_place(&mut self, told: Told) {
        let Some((_, askers)) = self.reloads.under_way.take() else { return };
        let Some(proxy) = self.proxy.clone() else { return };
        say(askers, &self.reload(&proxy, told));
        if let Some(asker) = self.reloads.next.pop() {
            self.ask_to_reload(asker);
        }
    }

    /// What came of it, in words.
    fn reload(&mut self, proxy: &Running, told: Told) -> String {
        let Reloaded { labels, policies } = match told.and_then(|answers| proxy.reload(answers)) {
            Ok(reloaded) => reloaded,
            Err(error) => return runs_on(&error),
        };
        self.labels = Labels::of_own(labels, |backend, server| proxy.numbers().of(backend, server));
        self.joins.add_doors(proxy.doors());
        match self.put_policies(policies) {
            Ok(()) => format!("{IN_PLACE}\n"),
            Err(error) => {
                format!("The new configuration runs, but not every rule is in force: {error:#}\n")
            }
        }
    }
}

fn runs_on(error: &anyhow::Error) -> String {
    format!("{error:#}\nThe old configuration runs on.\n")
}

/// Who is gone wants no answer.
fn say(askers: Vec<oneshot::Sender<String>>, text: &str) {
    askers.into_iter().for_each(|asker| drop(asker.send(text.to_owned())));
}
