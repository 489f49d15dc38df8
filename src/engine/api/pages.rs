//! What a person sees who points a browser here. There is no web interface: a page says what there is instead.

use super::answer::Answer;

pub(super) fn ui() -> Answer {
    const PAGE: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>paas engine</title></head>\n\
        <body>\n<h1>paas engine</h1>\n<p>This is a Marathon for one machine. It has an API and no web interface:</p>\n<ul>\n\
        <li><a href=\"/v2/apps\">apps</a></li>\n<li><a href=\"/v2/groups\">groups</a></li>\n\
        <li><a href=\"/v2/tasks\">tasks</a></li>\n<li><a href=\"/v2/deployments\">deployments</a></li>\n\
        <li><a href=\"/v2/queue\">queue</a></li>\n<li><a href=\"/v2/info\">info</a></li>\n\
        <li><a href=\"/metrics\">metrics</a></li>\n</ul>\n</body>\n</html>\n";
    Answer::text("text/html;charset=utf-8", PAGE)
}

pub(super) fn help() -> Answer {
    const TEXT: &str = "This is a Marathon for one machine: `paas engine`. Its API is Marathon's, below /v2; which \
        parts of it are answered is told in docs/marathon-api.md of its source.\n";
    Answer::text("text/plain;charset=utf-8", TEXT)
}
