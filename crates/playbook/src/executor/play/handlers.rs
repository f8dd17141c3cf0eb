//! Handlers: which of them a notification means, and for which hosts.

use std::sync::Arc;

use consort_jinja::repr;

use super::{PlayRun, full_name, meta_of};
use crate::executor::keyword::listed;
use crate::language::{Directive, Item, Task};
use crate::output::Event;
use crate::source::Located;
use crate::variables::TaskVariables;

impl PlayRun {
    /// The handlers a notification means: the last of that name, and all that listen to it.
    pub(in crate::executor) fn handlers_for(&mut self, notification: &str) -> Vec<Arc<Task>> {
        let handlers = latest_first(&self.iteration.handlers);
        let mut found = Vec::new();
        for handler in &handlers {
            let Some(name) = self.handler_name(handler) else {
                continue;
            };
            if *name == *notification
                || full_name(handler, Some(&name), false) == notification
                || full_name(handler, Some(&name), true) == notification
            {
                found.push(Arc::clone(handler));
                break;
            }
        }
        let mut seen: Vec<Option<Arc<str>>> = Vec::new();
        for handler in &handlers {
            let listens = listed(handler.directives.get(Directive::Listen).cloned())
                .iter()
                .any(|topic| topic.as_str() == Some(notification));
            if !listens {
                continue;
            }
            let name = self.handler_name(handler);
            if name.is_some() && seen.contains(&name) {
                continue;
            }
            seen.push(name);
            found.push(Arc::clone(handler));
        }
        found
    }

    /// The name of a handler, rendered without a host; none if it has none, or it cannot be.
    fn handler_name(&mut self, handler: &Arc<Task>) -> Option<Arc<str>> {
        if let Some(Some(known)) = self.handler_names.get(&handler.id) {
            return Some(Arc::clone(known));
        }
        let written = handler.name()?;
        let variables = TaskVariables::of_task(&self.variables, handler);
        match self.run.templar.render(written, &variables) {
            Ok(name) => {
                let name: Option<Arc<str>> = name.text().ok().map(|text| Arc::clone(text.shared()));
                let name = name.filter(|name| !name.is_empty());
                self.handler_names.insert(handler.id, name.clone());
                name
            }
            Err(error) => {
                let known = self.handler_names.insert(handler.id, None);
                if known.is_none() && handler.directives.get(Directive::Listen).is_none() {
                    self.run.tell.warn(&format!(
                        "Handler '{}' is unusable because it has no listen topics and the name could not be templated \
                         (host-specific variables are not supported in handler names). The error: {error}",
                        repr::text(written)
                    ));
                }
                None
            }
        }
    }

    pub(super) fn notify(&mut self, name: &Arc<str>, host: &Arc<str>) -> Result<(), Located> {
        let handlers = self.handlers_for(name);
        if handlers.is_empty() {
            let message = format!(
                "The requested handler '{name}' was not found in either the main handlers list nor in the listening handlers \
                 list"
            );
            if self.run.settings.error_on_missing_handler {
                return Err(Located::new(message));
            }
            self.run.tell.warn(&message);
            return Ok(());
        }
        if self.iteration.is_flushing(host) {
            for handler in &handlers {
                self.notify_handler(handler, host);
            }
        } else {
            self.iteration.keep_notification(host, name);
            self.run.tell.detail(
                2,
                None,
                &format!("Notification for handler {name} has been saved."),
            );
        }
        Ok(())
    }

    /// Keeps what an earlier run noted and did not come to.
    pub(in crate::executor) fn notify_again(&mut self) {
        let run = Arc::clone(&self.run);
        for host in &self.hosts {
            for name in run.options.notified.get(host).into_iter().flatten() {
                self.iteration.keep_earlier(host, name);
            }
        }
    }

    /// Notes the handlers that a host has notified, now that it is time for them. What an earlier run notified has to wait for the
    /// tasks of this one: what the handlers need may only now be put in order.
    pub(in crate::executor) fn flush(&mut self, host: &Arc<str>, flush: &Task) {
        for notification in self.iteration.take_notifications(host) {
            for handler in self.handlers_for(&notification) {
                self.notify_handler(&handler, host);
            }
        }
        if self.early_flush == Some(flush.id) {
            return;
        }
        for notification in self.iteration.take_earlier(host) {
            let handlers = self.handlers_for(&notification);
            for handler in &handlers {
                self.notify_handler(handler, host);
            }
            if handlers.is_empty() {
                // A role that is included may still bring it.
                self.iteration.keep_earlier(host, &notification);
            }
        }
    }

    /// Notes that a handler is to run on a host.
    pub(in crate::executor) fn notify_handler(&mut self, handler: &Arc<Task>, host: &Arc<str>) {
        if self.iteration.notify(handler, host) {
            let name = self
                .handler_name(handler)
                .map_or_else(|| full_name(handler, None, true), |name| name.to_string());
            self.run.tell.event(&Event::Notified {
                handler: &name,
                host,
            });
        }
    }
}

/// The first flush of handlers in a play that nobody wrote: that after `pre_tasks`.
pub(in crate::executor) fn first_flush(items: &[Item]) -> Option<u64> {
    items.iter().find_map(|item| match item {
        Item::Task(task) => {
            let flushes = task.implicit && meta_of(task).as_deref() == Some("flush_handlers");
            flushes.then_some(task.id)
        }
        Item::Block(block) => first_flush(&block.always),
    })
}

/// Handlers in the order they are looked for: lists of them that were written later come first, each in its own order.
fn latest_first(handlers: &[Arc<Task>]) -> Vec<Arc<Task>> {
    handlers
        .chunk_by(|one, two| Arc::ptr_eq(&one.parent, &two.parent))
        .rev()
        .flatten()
        .cloned()
        .collect()
}
