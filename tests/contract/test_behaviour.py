"""What a runner must do and must not do, row by row, and the tests that show it. Every one named here exists."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

ROWS: dict[str, tuple[str, ...]] = {
    "identity": (
        "unit/runner/test_identity.py::hello_and_meta_are_complete",
        "unit/cli/test_choices.py::flags_win_over_files_and_environment",
        "e2e/test_runner_files.py::a_headless_runner_logs_to_stderr_and_writes_the_info_file_that_was_asked_for",
    ),
    "start order": (
        "unit/runner/test_runner.py::a_life_from_start_to_stop",
        "unit/runner/test_runner.py::the_info_file_is_there_before_the_program_and_complete_after",
        "unit/runner/test_inbox.py::a_backlog_is_taken_at_the_start",
    ),
    "bus hello": (
        "unit/runner/test_identity.py::the_hello_carries_provider_and_headless_as_tags_once",
        "contract/test_relays.py::the_same_instance_may_connect_again",
        "unit/runner/test_presence.py::what_is_learnt_reaches_the_relay_at_once",
    ),
    "meta": (
        "unit/runner/test_identity.py::hello_and_meta_are_complete",
        "unit/runner/test_identity.py::the_meta_says_who_it_is_and_holds_no_secret",
        "unit/runner/test_abilities.py::the_rights_of_a_session_follow_from_its_mode",
    ),
    "status": (
        "unit/runner/test_work.py::busy_is_exactly_when_there_is_work_or_the_provider_says_so",
        "contract/test_relays.py::status_is_what_the_agent_says_while_it_is_heard",
        "contract/test_relays.py::not_13_a_timeline_is_kept_whole_in_order_and_once",
        "contract/test_relays.py::an_agent_whose_bus_is_gone_is_there_while_http_says_so",
    ),
    "matching": (
        "contract/test_relays.py::a_fan_out_reaches_each_agent_meant_but_not_the_sender",
        "contract/test_relays.py::a_claimable_message_waits_for_one_who_joins",
    ),
    "delivery": (
        "unit/runner/test_inbox.py::twenty_runners_and_one_claimable_message_have_one_winner",
        "unit/runner/test_inbox.py::a_refused_submission_is_tried_five_times_and_ends_dead_with_the_reason",
        "unit/runner/test_attachments.py::a_message_goes_in_with_the_paths_of_its_files",
        "contract/test_relays.py::five_failed_attempts_make_a_dead_letter_that_can_be_redelivered",
    ),
    "tasks": (
        "contract/test_relay_tasks.py::a_task_goes_with_the_turn_that_carries_it",
        "unit/runner/test_flights.py::a_task_is_work_from_the_hand_over_to_the_end_of_its_turn",
    ),
    "claims": (
        "unit/runner/test_claims.py::a_claim_is_renewed_at_a_third_of_its_lease",
        "faults/test_claims.py::twenty_runners_on_one_tag_share_forty_messages_and_each_has_one_winner",
    ),
    "work": (
        "unit/runner/test_work.py::whatever_happened_an_idle_provider_makes_an_idle_agent_and_a_busy_one_a_busy_agent",
        "unit/runner/test_notes.py::turns_and_subagents_are_work_while_they_last",
    ),
    "status updates": (
        "unit/runner/test_notes.py::a_post_of_this_session_counts_and_of_another_is_dropped",
        "e2e/test_status_posts.py::a_generic_programs_own_scripts_make_it_busy_and_idle",
    ),
    "liveness": (
        "unit/runner/test_presence.py::the_backstop_finds_what_a_silent_bus_did_not_bring",
        "unit/runner/test_presence.py::a_relay_that_stays_away_is_said_once",
        "faults/test_tokens.py::a_bus_that_died_without_a_word_is_noticed_and_dialled_again",
        "faults/test_tokens.py::messages_come_by_http_while_only_the_bus_is_gone",
    ),
    "token": (
        "unit/runner/test_credentials.py::the_lead_is_a_fifth_of_the_life_between_a_minute_and_an_hour",
        "unit/runner/test_credentials.py::a_chain_of_renewals_never_lets_the_token_run_out",
        "unit/runner/test_credentials.py::a_token_that_does_not_renew_is_waited_for_until_it_is_taken_again",
        "contract/test_relays.py::only_a_runners_token_renews",
        "faults/test_tokens.py::a_storm_of_refusals_makes_one_token_and_no_call_fails",
        "faults/test_tokens.py::a_second_start_takes_the_agent_over_and_neither_spoils_the_others_token",
    ),
    "commands": (
        "unit/runner/test_commands.py::the_same_command_twice_is_done_once",
        "unit/runner/test_commands.py::a_command_that_takes_too_long_fails_and_the_next_one_runs",
        "unit/runner/test_orders.py::what_nobody_can_do_is_refused_with_what_is_there",
        "unit/runner/test_runner.py::reconnect_leaves_the_bus_and_joins_it_again",
    ),
    "injectContext": (
        "unit/runner/test_orders.py::context_goes_in_with_its_reason_and_its_memories_and_the_count_comes_back",
        "unit/runner/test_orders.py::nothing_is_injected_without_content",
    ),
    "permission decision": (
        "contract/test_relay_permissions.py::the_first_answer_stands_and_the_late_one_is_told_so",
        "unit/runner/test_permissions.py::the_deadline_leaves_it_to_the_terminal",
        "unit/runner/test_permissions.py::the_deadline_denies_where_nobody_is",
        "unit/runner/test_permissions.py::the_successor_of_a_killed_runner_puts_the_answer_in",
    ),
    "restart": (
        "unit/runner/test_runner.py::messages_of_a_restarted_agent_are_settled_and_the_rest_goes_in",
        "unit/runner/test_orders.py::a_restart_retires_nobody",
    ),
    "unexpected exit": (
        "unit/runner/test_policy.py::it_gives_up_exactly_when_more_than_three_exits_fall_into_two_minutes",
        "unit/runner/test_runner.py::a_program_that_crashes_comes_back_with_its_session",
        "unit/runner/test_supervisor.py::a_program_that_failed_in_a_terminal_leaves_the_reason",
    ),
    "shutdown, kill": (
        "unit/runner/test_supervisor.py::others_know_before_the_program_is_ended",
        "unit/runner/test_orders.py::shutdown_and_kill_end_the_provider_and_retire_the_agent",
        "unit/runner/test_orders.py::nobody_takes_an_agent_from_under_a_persons_hands_unless_forced",
        "contract/test_relays.py::a_removed_agent_keeps_its_queue_until_the_end",
        "e2e/test_cli_terminal.py::a_restart_is_followed",
    ),
    "start of a session": (
        "unit/runner/test_prompt.py::once_per_session_and_never_again_on_a_restart",
        "unit/runner/test_overtime.py::a_turn_that_takes_too_long_is_interrupted_and_has_failed",
        "e2e/test_codex_home.py::a_turn_that_lacks_a_secret_is_blocked_and_says_which",
    ),
    "info file": (
        "unit/runner/test_runner.py::the_info_file_is_there_before_the_program_and_complete_after",
        "e2e/test_runner_files.py::a_headless_runner_logs_to_stderr_and_writes_the_info_file_that_was_asked_for",
    ),
    "control server": (
        "unit/runner/test_control.py::nobody_else_gets_in",
        "unit/runner/test_control.py::a_script_inside_posts_what_it_does",
        "unit/runner/test_proxy.py::an_agent_cannot_order_approve_or_report_by_itself",
        "unit/runner/test_runner.py::every_program_can_ask_what_is_owed",
    ),
    "context": (
        "unit/runner/test_notes.py::the_context_is_in_the_status_and_in_the_meta",
        "e2e/test_claude_context.py::context_model_and_effort_are_told_by_the_status_line",
        "e2e/test_claude_context.py::the_users_own_status_line_is_shown_with_the_same_input",
    ),
    "logs": (
        "unit/test_log.py::the_same_error_comes_once_in_five_minutes_and_says_how_often",
        "e2e/test_runner_files.py::where_a_program_owns_the_screen_the_log_is_in_its_file_only",
    ),
    "profiles": (
        "e2e/test_profiles.py::claude_code_is_set_up_as_its_profile_says",
        "e2e/test_profiles.py::codex_is_set_up_as_its_profile_says",
        "unit/runner/test_identity.py::the_meta_tells_what_became_of_the_profile",
    ),
    "obligations": (
        "unit/runner/test_reminding.py::a_message_without_its_reply_is_put_to_the_agent_once_and_settles_after_that_turn",
        "e2e/test_obligations.py::claude_is_reminded_before_its_turn_ends_and_replies_in_the_same_turn",
    ),
    "approval mode": (
        "e2e/test_read_only.py::claude_code_reads_and_writes_nothing",
        "e2e/test_read_only.py::codex_runs_commands_that_write_nothing",
        "e2e/test_read_only.py::programs_that_cannot_be_held_to_it_are_refused",
    ),
}
"""What must work."""

NOT: dict[int, tuple[str, tuple[str, ...]]] = {
    1: (
        "liveness dead after one 401",
        ("faults/test_tokens.py::not_1_a_runner_whose_token_is_refused_is_silent_and_goes_on_by_itself",),
    ),
    2: (
        "a token that expired during sleep never recovers",
        ("unit/runner/test_credentials.py::not_2_a_machine_that_slept_past_the_expiry_renews_when_it_wakes",),
    ),
    3: (
        "a life of a minute or less renews every second",
        ("unit/runner/test_credentials.py::not_3_a_short_token_does_not_make_a_hot_loop",),
    ),
    4: (
        "a renewed token never reaches the live provider",
        ("faults/test_tokens.py::not_4_the_agents_tools_go_on_while_its_token_is_renewed_again_and_again",),
    ),
    5: (
        "a swallowed read mark plus the poll delivers twice",
        ("unit/runner/test_inbox.py::not_5_a_swallowed_read_mark_and_a_poll_deliver_nothing_twice",),
    ),
    6: (
        "a poll requeues a message in delivery",
        ("unit/runner/test_inbox.py::not_6_a_poll_does_not_requeue_what_is_on_its_way_in",),
    ),
    7: (
        "an older turn's idle marks a younger task done",
        (
            "contract/test_relay_tasks.py::not_7_an_older_turns_end_leaves_a_younger_task_alone",
            "unit/runner/test_flights.py::not_7_another_turns_end_settles_nothing",
        ),
    ),
    8: (
        "a restart leaves claims of the dead session renewing",
        ("unit/runner/test_inbox.py::not_8_no_claim_of_a_dead_process_goes_on_being_renewed",),
    ),
    9: ("a refused renewal is ignored", ("unit/runner/test_claims.py::not_9_a_refused_renewal_fences_the_work",)),
    10: (
        "one bad message redelivers the batch",
        ("unit/runner/test_inbox.py::not_10_one_bad_message_never_touches_its_neighbours",),
    ),
    11: (
        "a crash every 31 s loops for ever, and giving up exits with 0",
        (
            "unit/runner/test_policy.py::not_11_a_crash_every_31_seconds_is_given_up",
            "faults/test_parking.py::not_11_a_program_that_ends_again_and_again_parks_its_agent",
        ),
    ),
    12: (
        "a restart forgets the conversation",
        ("unit/runner/test_runner.py::not_12_a_restart_goes_on_with_the_conversation",),
    ),
    13: (
        "a second timeline event overwrites the first",
        ("contract/test_relays.py::not_13_a_timeline_is_kept_whole_in_order_and_once",),
    ),
    14: (
        "commands are repeated or overlap",
        (
            "unit/runner/test_commands.py::not_14_they_run_one_after_the_other_in_order",
            "unit/runner/test_commands.py::not_14_what_was_running_when_the_runner_died_is_answered_and_never_run_again",
        ),
    ),
    15: (
        "idle from a failed or interrupted turn marks done",
        (
            "unit/runner/test_flights.py::not_15_a_failed_and_an_interrupted_turn_say_so",
            "unit/runner/test_inbox.py::not_15_idle_without_an_end_of_the_turn_is_not_done",
        ),
    ),
    16: (
        "a network error during a claim is taken for 'someone else has it'",
        ("unit/runner/test_handover.py::not_16_a_network_error_during_a_claim_is_no_answer",),
    ),
}
"""What must not happen, with the tests that fail where it does."""


@cache
def names_in(file: str) -> frozenset[str]:
    """Return the names of the tests in a file, without their `test_`."""
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name.removeprefix("test_") for node in functions if node.name.startswith("test_"))


def exists(test: str) -> bool:
    """Say whether `FILE::NAME` is a test."""
    file, _, name = test.partition("::")
    return (TESTS / file).is_file() and name in names_in(file)


@pytest.mark.parametrize("row", ROWS)
def test_every_row_is_shown_by_tests_that_exist(row: str) -> None:
    assert ROWS[row]
    assert [test for test in ROWS[row] if not exists(test)] == []


@pytest.mark.parametrize("number", range(1, 17))
def test_what_must_not_happen_is_shown_by_tests_that_bear_its_number(number: int) -> None:
    _, tests = NOT[number]
    assert tests and [test for test in tests if not exists(test)] == []
    assert all(test.partition("::")[2].startswith(f"not_{number}_") for test in tests)
