"""What notices say in English."""

from __future__ import annotations

from jhub_tokens.service.notice_words.words import Words

__all__ = ["WORDS"]

WORDS = Words(
    notices={
        "used_percent": (
            "{percent} % of your tokens are used",
            "You have used {percent} % of this period's tokens.",
        ),
        "used_percent.team": (
            "{percent} % of the tokens of the team {team} are used",
            "The team {team} has used {percent} % of this period's tokens.",
        ),
        "time_left": (
            "Your servers are stopped in {left}",
            "{servers} {is_} stopped in {left}, {dry_at}: {will}. Save your work in time.",
        ),
        "time_left.dry": (
            "Your balance lasts {left} more",
            "At the present rate your balance lasts {left} more, until {dry_at}. Running servers "
            "are stopped then; save your work in time.",
        ),
        "last_warning": (
            "Last warning: your servers are about to be stopped",
            "Last warning: {servers} {is_} stopped {stop_at}, because {will}. Save your work now.",
        ),
        "last_warning.dry": (
            "Last warning: your servers are about to be stopped",
            "Last warning: your balance is used up {dry_at}, and your servers are stopped "
            "{stop_at}. Save your work now.",
        ),
        "time_left.dry.team": (
            "The team {team} has tokens for {left} more",
            "At the present rate the tokens of the team {team} last {left} more, until {dry_at}. "
            "Your servers that they pay for are stopped then; save your work in time.",
        ),
        "time_left.idle": (
            "An idle server is stopped in {left}",
            "{servers} {is_} idle and stopped in {left}, {dry_at}. It goes on if you use it, or "
            "ask in JupyterLab for it to be kept running.",
        ),
        "last_warning.dry.team": (
            "Last warning: your servers are about to be stopped",
            "Last warning: the tokens of the team {team} are used up {dry_at}, and your servers "
            "that they pay for are stopped {stop_at}. Save your work now.",
        ),
        "last_warning.idle": (
            "Last warning: an idle server is about to be stopped",
            "Last warning: {servers} {is_} idle and stopped {stop_at}. It goes on if you use it "
            "now, or ask in JupyterLab for it to be kept running.",
        ),
        "stopped_dry": (
            "Your servers were stopped: the balance is used up",
            "{servers} {was} stopped because {why}. Your files are kept.{renews}",
        ),
        "stopped_dry.team": (
            "Your servers were stopped: the tokens of the team {team} are used up",
            "{servers} {was} stopped because the tokens of the team {team} are used up. Your "
            "files are kept.{renews}",
        ),
        "stopped": (
            "Your servers were stopped",
            "{servers} {was} stopped because {why}. Your files are kept.",
        ),
        "would_stop": (
            "Your servers would have been stopped",
            "{servers} would have been stopped because {why}, but limits are not enforced on "
            "this hub.",
        ),
        "would_stop.dry.team": (
            "Your servers would have been stopped",
            "{servers} would have been stopped because the tokens of the team {team} are used up, "
            "but limits are not enforced on this hub.",
        ),
        "stop_failed": (
            "A server could not be stopped",
            "A server could not be stopped and is tried again{detail}.",
        ),
        "ended": (
            "Your server has ended",
            "{servers} ended {at}, because {why}. It is charged up to then. Your files are kept.",
        ),
        "ended.oom": (
            "Your server ran out of memory",
            "{servers} ended {at}, because {why}. It is charged up to then. Your files are kept. "
            "Load less at once, or start a profile with more memory.",
        ),
        "credited": (
            "{tokens} added to your balance",
            "{tokens} added to your balance.{reason}",
        ),
        "credited.taken": (
            "{tokens} taken from your balance",
            "{tokens} taken from your balance.{reason}",
        ),
        "credited.team": (
            "{tokens} added for the team {team}",
            "{tokens} added to the balance of the team {team}.{reason}",
        ),
        "credited.taken.team": (
            "{tokens} taken from the team {team}",
            "{tokens} taken from the balance of the team {team}.{reason}",
        ),
        "refunded": (
            "{tokens} given back for a server",
            "{tokens} given back for your server ({server}).{reason}",
        ),
        "refunded.team": (
            "{tokens} given back to the team {team}",
            "{tokens} given back to the team {team} for a server ({server}).{reason}",
        ),
        "answered": (
            "Your question is answered",
            "Your question about the charge for {server} is answered: {answer}",
        ),
        "past_due": (
            "Your plan's fee is overdue",
            "The fee for {plan} could not be collected. Pay it before {freezes_at}; your "
            "membership is frozen then, and running servers are stopped.",
        ),
        "renewed": (
            "A new period has begun with {tokens}",
            "A new period has begun with {tokens}; it ends {period_end}.",
        ),
        "renewed.team": (
            "A new period of the team {team} has begun with {tokens}",
            "A new period of the team {team} has begun with {tokens}; it ends {period_end}.",
        ),
        "expiring": (
            "{tokens} will expire",
            "{tokens} will expire {expires_at} unless they are used before.",
        ),
        "expiring.team": (
            "{tokens} of the team {team} will expire",
            "{tokens} of the team {team} will expire {expires_at} unless they are used before.",
        ),
        "plan_changed": ("Your plan is now {plan}", "Your plan is now {plan}."),
        "plan_changed.team": (
            "The plan of the team {team} is now {plan}",
            "The plan of the team {team} is now {plan}.",
        ),
        "plan_scheduled": (
            "Your plan will change to {plan}",
            "Your plan will change to {plan} {at}.",
        ),
        "plan_kept": (
            "You keep your plan {plan}",
            "The change of plan was taken back: you keep {plan}.",
        ),
        "trial_started": (
            "Your trial of {plan} has begun",
            "Your trial of {plan} has begun; it ends {until}.",
        ),
        "frozen": (
            "Your membership is frozen",
            "Your membership is frozen: servers are stopped and none can start.{reason}",
        ),
        "unfrozen": ("Your membership is active again", "Your membership is active again."),
        "ssh_key_added": (
            "An SSH key was added",
            "The SSH key “{key_name}” ({fingerprint}) opens your servers from now on. If it was "
            "not you who added it, remove it on the page Access and tell your administrator.",
        ),
        "team_invited": (
            "You are invited to the team {team}",
            "You are invited to the team {team}: accept or decline on the page Plan.",
        ),
        "team_accepted": (
            "{name} is in the team {team}",
            "Your invitation to the team {team} was accepted: {name} is in it now.",
        ),
        "team_declined": (
            "{name} does not join the team {team}",
            "Your invitation to the team {team} was declined by {name}.",
        ),
        "team_removed": (
            "You are no longer in the team {team}",
            "You are no longer in the team {team}: its tokens pay for none of your servers.",
        ),
    },
    why={
        "dry": "your balance is used up",
        "frozen": "your membership was frozen",
        "max_run": "the longest run that was set for it has passed",
        "day_limit": "what may be spent in a day is spent",
        "week_limit": "what may be spent in a week is spent",
        "team_cap": "your share of the team's tokens is spent",
        "left_team": "you are no longer in the team that paid",
        "asked": "you asked for it",
        "ordered": "an administrator stopped it",
        "idle": "nothing used it any more",
    },
    will={
        "dry": "the balance is used up then",
        "frozen": "your membership is frozen",
        "max_run": "the longest run that was set for it ends then",
        "day_limit": "what may be spent in a day is spent then",
        "week_limit": "what may be spent in a week is spent then",
        "team_cap": "your share of the team's tokens is spent then",
        "left_team": "you are no longer in the team that pays",
        "asked": "you asked for it",
        "ordered": "an administrator stopped it",
        "idle": "nothing uses it",
    },
    ended={
        "oom": "it ran out of memory",
        "evicted": "its node ran short of resources or was emptied",
        "node_lost": "its node failed or was shut down",
        "preempted": "its spot node was taken back",
        "displaced": "its place was needed for more urgent work",
    },
    one_server="your server ({titles})",
    servers="your servers ({titles})",
    any_servers="your servers",
    was="was",
    were="were",
    is_="is",
    are="are",
    joined=", ",
    reason=" Reason: {reason}",
    renews=" New tokens arrive {renews_at}.",
    footer="Balance: {console_url}\nChoose which e-mails you get, or none: {settings_url}",
    confirm_subject="Confirm this address for notices of {title}",
    confirm_text=(
        "{name} asked for notices of {title} to be sent to this address.\n\n"
        "To confirm it, open this link within {hours} hours, signed in as {name}:\n{url}\n\n"
        "If this was not you, do nothing: no notices will be sent."
    ),
)
