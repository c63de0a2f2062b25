"""What notices say, in each language: the only place where these words stand.

A notice has a subject and a text for each kind, with a variant for some reasons
(``time_left.dry``). Names in braces are filled in by `notice_texts`: ``servers`` is a subject of a
sentence (*your server (CPU)*), ``why`` and ``will`` are the reason as a clause of what has
happened and of what is to come.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["WORDS", "Words"]


@dataclass(frozen=True, slots=True)
class Words:
    """One language's words.

    Parameters
    ----------
    notices
        Subject and text, by kind or by ``kind.reason``.
    why
        Why servers were stopped, by the stop's reason.
    will
        Why servers are going to be stopped, by the stop's reason.
    ended
        Why a server ended that nobody had ordered to stop, by the end's reason.
    one_server, servers, any_servers
        One server named, several named, and those that cannot be named.
    was, were
        The verb that goes with one server and with several.
    joined
        What stands between two servers.
    reason
        How a reason that somebody typed is added.
    renews
        How the instant of new tokens is added.
    footer
        What ends every e-mail.
    confirm_subject, confirm_text
        The e-mail that asks whether an address is right.
    """

    notices: Mapping[str, tuple[str, str]]
    why: Mapping[str, str]
    will: Mapping[str, str]
    ended: Mapping[str, str]
    one_server: str
    servers: str
    any_servers: str
    was: str
    were: str
    is_: str
    are: str
    joined: str
    reason: str
    renews: str
    footer: str
    confirm_subject: str
    confirm_text: str


_EN = Words(
    notices={
        "used_percent": (
            "{percent} % of your tokens are used",
            "You have used {percent} % of this period's tokens.",
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
        "time_left.idle": (
            "An idle server is stopped in {left}",
            "{servers} {is_} idle and stopped in {left}, {dry_at}. It goes on if you use it, or "
            "ask in JupyterLab for it to be kept running.",
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
        "stopped": (
            "Your servers were stopped",
            "{servers} {was} stopped because {why}. Your files are kept.",
        ),
        "would_stop": (
            "Your servers would have been stopped",
            "{servers} would have been stopped because {why}, but limits are not enforced on "
            "this hub.",
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
        "refunded": (
            "{tokens} given back for a server",
            "{tokens} given back for your server ({server}).{reason}",
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
        "expiring": (
            "{tokens} will expire",
            "{tokens} will expire {expires_at} unless they are used before.",
        ),
        "plan_changed": ("Your plan is now {plan}", "Your plan is now {plan}."),
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

_ZH = Words(
    notices={
        "used_percent": (
            "您的额度已使用 {percent}%",
            "您已使用本周期额度的 {percent}%。",
        ),
        "time_left": (
            "您的服务器将在 {left}后停止",
            "{servers}将在 {left}后停止（{dry_at}）：{will}。请及时保存您的工作。",
        ),
        "time_left.dry": (
            "您的额度还可使用 {left}",
            "按目前的速率，您的额度还可使用 {left}，到 {dry_at} 为止。届时运行中的服务器将被停止，"
            "请及时保存您的工作。",
        ),
        "last_warning": (
            "最后提醒：您的服务器即将停止",
            "最后提醒：{servers}将于 {stop_at} 停止，因为{will}。请立即保存您的工作。",
        ),
        "last_warning.dry": (
            "最后提醒：您的服务器即将停止",
            "最后提醒：您的额度将于 {dry_at} 用完，服务器将于 {stop_at} 停止。请立即保存您的工作。",
        ),
        "time_left.idle": (
            "空闲的服务器将在 {left}后停止",
            "{servers}处于空闲状态，将在 {left}后停止（{dry_at}）。继续使用，或在 JupyterLab 中选择"
            "保持运行，它就不会停止。",
        ),
        "last_warning.idle": (
            "最后提醒：空闲的服务器即将停止",
            "最后提醒：{servers}处于空闲状态，将于 {stop_at} 停止。立即使用，或在 JupyterLab 中选择"
            "保持运行，它就不会停止。",
        ),
        "stopped_dry": (
            "额度已用完，您的服务器已停止",
            "{servers}已停止，因为{why}。您的文件已保留。{renews}",
        ),
        "stopped": ("您的服务器已停止", "{servers}已停止，因为{why}。您的文件已保留。"),
        "would_stop": (
            "您的服务器本应停止",
            "{servers}本应停止，因为{why}；但本平台目前不强制执行限额。",
        ),
        "stop_failed": ("有服务器未能停止", "有服务器未能停止，系统会再次尝试{detail}。"),
        "ended": (
            "您的服务器已结束运行",
            "{servers}已于 {at} 结束运行，因为{why}。费用只计到该时刻。您的文件已保留。",
        ),
        "ended.oom": (
            "您的服务器内存不足",
            "{servers}已于 {at} 结束运行，因为{why}。费用只计到该时刻。您的文件已保留。"
            "请减少同时加载的数据，或启动内存更大的配置。",
        ),
        "credited": ("您的额度增加了 {tokens}", "您的额度增加了 {tokens}。{reason}"),
        "credited.taken": ("您的额度减少了 {tokens}", "您的额度减少了 {tokens}。{reason}"),
        "refunded": (
            "已退还 {tokens}",
            "已为您的服务器（{server}）退还 {tokens}。{reason}",
        ),
        "answered": (
            "您的疑问已得到答复",
            "您对 {server} 费用的疑问已得到答复：{answer}",
        ),
        "past_due": (
            "您的套餐费用已逾期",
            "{plan} 的费用未能扣款成功。请在 {freezes_at} 之前付款；届时您的会员资格将被冻结，"
            "运行中的服务器将停止。",
        ),
        "renewed": (
            "新的周期已开始，额度为 {tokens}",
            "新的周期已开始，额度为 {tokens}，到 {period_end} 结束。",
        ),
        "expiring": (
            "{tokens} 即将过期",
            "{tokens} 若不使用，将于 {expires_at} 过期。",
        ),
        "plan_changed": ("您的套餐已变更为 {plan}", "您的套餐已变更为 {plan}。"),
        "plan_scheduled": ("您的套餐将变更为 {plan}", "您的套餐将于 {at} 变更为 {plan}。"),
        "plan_kept": ("您的套餐仍为 {plan}", "套餐变更已撤回，您的套餐仍为 {plan}。"),
        "trial_started": ("{plan} 试用已开始", "{plan} 试用已开始，到 {until} 结束。"),
        "frozen": (
            "您的会员资格已冻结",
            "您的会员资格已冻结：服务器将被停止，且无法启动新的服务器。{reason}",
        ),
        "unfrozen": ("您的会员资格已恢复", "您的会员资格已恢复。"),
        "ssh_key_added": (
            "已添加 SSH 密钥",
            "SSH 密钥“{key_name}”（{fingerprint}）从现在起可用于登录您的服务器。"
            "如果不是您本人添加的，请在“访问”页面将其移除，并告知管理员。",
        ),
        "team_invited": (
            "您被邀请加入团队 {team}",
            "您被邀请加入团队 {team}：请在“套餐”页面接受或拒绝。",
        ),
        "team_accepted": ("{name} 已加入团队 {team}", "{name} 已接受您的邀请，加入团队 {team}。"),
        "team_declined": ("{name} 不加入团队 {team}", "{name} 已拒绝您加入团队 {team} 的邀请。"),
        "team_removed": (
            "您已不在团队 {team} 中",
            "您已不在团队 {team} 中：该团队的代币不再为您的服务器付费。",
        ),
    },
    why={
        "dry": "您的额度已用完",
        "frozen": "您的会员资格已冻结",
        "max_run": "已达到设定的最长运行时间",
        "day_limit": "已达到每日使用上限",
        "week_limit": "已达到每周使用上限",
        "team_cap": "您在团队额度中的份额已用完",
        "left_team": "您已不在付费团队中",
        "asked": "您要求停止",
        "ordered": "管理员停止了服务器",
        "idle": "已长时间无人使用",
    },
    will={
        "dry": "届时额度将用完",
        "frozen": "您的会员资格已冻结",
        "max_run": "届时将达到设定的最长运行时间",
        "day_limit": "届时将达到每日使用上限",
        "week_limit": "届时将达到每周使用上限",
        "team_cap": "届时您在团队额度中的份额将用完",
        "left_team": "您已不在付费团队中",
        "asked": "您要求停止",
        "ordered": "管理员停止了服务器",
        "idle": "无人使用",
    },
    ended={
        "oom": "内存不足",
        "evicted": "所在节点资源不足或被清空",
        "node_lost": "所在节点发生故障或已关闭",
        "preempted": "所在的竞价（spot）节点被收回",
        "displaced": "其资源被更紧急的任务占用",
    },
    one_server="您的服务器（{titles}）",
    servers="您的服务器（{titles}）",
    any_servers="您的服务器",
    was="",
    were="",
    is_="",
    are="",
    joined="、",
    reason="原因：{reason}",
    renews="新的额度将于 {renews_at} 发放。",
    footer="查看额度：{console_url}\n选择接收哪些邮件或不再接收：{settings_url}",
    confirm_subject="请确认用于接收 {title} 通知的邮箱地址",
    confirm_text=(
        "{name} 申请将 {title} 的通知发送到此邮箱。\n\n"
        "如需确认，请在 {hours} 小时内以 {name} 的身份登录并打开以下链接：\n{url}\n\n"
        "如果这不是您本人的操作，请忽略本邮件，系统不会发送任何通知。"
    ),
)

#: The words of each language, by its code.
WORDS: Mapping[str, Words] = {"en": _EN, "zh": _ZH}
