"""What notices say in Simplified Chinese."""

from __future__ import annotations

from jhub_tokens.service.notice_words.words import Words

__all__ = ["WORDS"]

WORDS = Words(
    notices={
        "used_percent": (
            "您的额度已使用 {percent}%",
            "您已使用本周期额度的 {percent}%。",
        ),
        "used_percent.team": (
            "团队 {team} 的额度已使用 {percent}%",
            "团队 {team} 已使用本周期额度的 {percent}%。",
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
        "time_left.dry.team": (
            "团队 {team} 的额度还可使用 {left}",
            "按目前的速率，团队 {team} 的额度还可使用 {left}，到 {dry_at} 为止。届时由其付费的"
            "服务器将被停止，请及时保存您的工作。",
        ),
        "time_left.idle": (
            "空闲的服务器将在 {left}后停止",
            "{servers}处于空闲状态，将在 {left}后停止（{dry_at}）。继续使用，或在 JupyterLab 中选择"
            "保持运行，它就不会停止。",
        ),
        "last_warning.dry.team": (
            "最后提醒：您的服务器即将停止",
            "最后提醒：团队 {team} 的额度将于 {dry_at} 用完，由其付费的服务器将于 {stop_at} 停止。"
            "请立即保存您的工作。",
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
        "stopped_dry.team": (
            "团队 {team} 的额度已用完，您的服务器已停止",
            "{servers}已停止，因为团队 {team} 的额度已用完。您的文件已保留。{renews}",
        ),
        "stopped": ("您的服务器已停止", "{servers}已停止，因为{why}。您的文件已保留。"),
        "would_stop": (
            "您的服务器本应停止",
            "{servers}本应停止，因为{why}；但本平台目前不强制执行限额。",
        ),
        "would_stop.dry.team": (
            "您的服务器本应停止",
            "{servers}本应停止，因为团队 {team} 的额度已用完；但本平台目前不强制执行限额。",
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
        "credited.team": (
            "团队 {team} 的额度增加了 {tokens}",
            "团队 {team} 的额度增加了 {tokens}。{reason}",
        ),
        "credited.taken.team": (
            "团队 {team} 的额度减少了 {tokens}",
            "团队 {team} 的额度减少了 {tokens}。{reason}",
        ),
        "refunded": (
            "已退还 {tokens}",
            "已为您的服务器（{server}）退还 {tokens}。{reason}",
        ),
        "refunded.team": (
            "已向团队 {team} 退还 {tokens}",
            "已为服务器（{server}）向团队 {team} 退还 {tokens}。{reason}",
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
        "renewed.team": (
            "团队 {team} 新的周期已开始，额度为 {tokens}",
            "团队 {team} 新的周期已开始，额度为 {tokens}，到 {period_end} 结束。",
        ),
        "expiring": (
            "{tokens} 即将过期",
            "{tokens} 若不使用，将于 {expires_at} 过期。",
        ),
        "expiring.team": (
            "团队 {team} 的 {tokens} 即将过期",
            "团队 {team} 的 {tokens} 若不使用，将于 {expires_at} 过期。",
        ),
        "plan_changed": ("您的套餐已变更为 {plan}", "您的套餐已变更为 {plan}。"),
        "plan_changed.team": (
            "团队 {team} 的套餐已变更为 {plan}",
            "团队 {team} 的套餐已变更为 {plan}。",
        ),
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
