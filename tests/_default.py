"""Which cases run by default; all others are marked ``full``.

By default each test has a case, but for those named here; and each value of a parameter, up to so
many cases of a test.
"""

from zlib import crc32

MOST = 4  # cases of a test
MOST_OF_LONG = 1  # the same, where cases start processes, wait, or draw very many items
LONG = {
    "tests/background/test_channel.py",
    "tests/background/test_child.py",
    "tests/background/test_system_limits.py",
    "tests/background/test_warned.py",
    "tests/openers/test_actors.py",
    "tests/streaming/test_leaving.py",
    "tests/streaming/test_opener.py",
    "tests/test_after_the_end.py",
    "tests/test_benchmarks.py",
    "tests/test_checking_pages.py",
    "tests/test_contract.py::test_a_pickle_gives_the_same_items_in_another_process",
    "tests/test_examples.py",
    "tests/test_failures.py",
    "tests/test_faults.py",
    "tests/test_golden.py",
    "tests/test_maps.py::test_the_cache_keeps_what_a_reused_buffer_held",
    "tests/test_monitor.py",
    "tests/test_parallel.py",
    "tests/test_resume.py",
    "tests/test_resume_failures.py",
    "tests/test_shares.py",
    "tests/test_statistics.py",
    "tests/test_stress.py",
    "tests/test_usage.py",
    "tests/test_zmq_stream.py",
}

# Tests without a case in the default run, and why.
_ONLY_FULL = {
    "openers/test_actors.py": {
        "test_random_trees_on_actors_that_are_lost": "long; another test loses actors of one tree",
        "test_a_source_that_hangs_is_killed_and_at_last_an_error": "test_parallel.py has processes",
    },
    "test_browser.py": dict.fromkeys(
        (
            "test_a_browser_finds_the_fault",
            "test_a_browser_finds_nothing_without_the_fault",
            "test_a_browser_finds_requests_that_fail",
            "test_a_page_must_be_among_the_first_five_results",
        ),
        "a browser takes long to start; these are for who changes the check of the site",
    ),
    "test_ray.py": dict.fromkeys(
        (
            "test_the_same_items",
            "test_random_trees",
            "test_a_state_goes_everywhere",
            "test_actors_that_are_killed_from_outside",
            "test_a_node_that_is_removed",
            "test_a_source_that_kills_its_actors",
            "test_a_source_that_hangs",
            "test_a_silent_node",
            "test_an_error_of_worker_init",
            "test_a_module_that_is_missing_there",
            "test_resources_that_never_come",
            "test_errors_are_values",
            "test_nothing_is_spilled_however_slow_the_reader_is",
            "test_however_the_program_ends_no_actor_is_left",
            "test_inside_a_task_and_an_actor",
            "test_inside_a_worker_of_ray_train",
            "test_a_monitor_counts_the_same",
            "test_without_a_cluster",
        ),
        "a cluster takes long to start; openers/test_actors.py has it",
    ),
    "test_mux.py": {
        "test_seeded_muxes_that_are_opened_again_and_again_go_on": "long",
    },
    "test_benchmarks.py": {
        "test_every_case_gives_items_in_every_column": "long",
        "test_the_tables_of_workers_have_every_row": "long",
        "test_the_tables_of_monitors_have_every_row": "long",
    },
    "background/test_warned.py": {
        "test_a_filter_that_makes_it_an_error_does_so_here": "long",
    },
    "test_after_the_end.py": {
        "test_after_two_interrupts": "after one is in the default run",
    },
    "background/test_channel.py": {
        "test_streams_until_no_descriptor_is_left": "test_child.py has a start without one",
        "test_without_descriptors_there_is_an_error_or_the_whole_stream": "the same",
    },
    "background/test_child.py": {
        "test_obituary_of_one_that_has_just_died": "test_obituary has some of it",
        "test_a_large_error_arrives": "long",
        "test_many_at_once": "test_zmq_stream.py has it, with streams",
    },
    "background/test_memory.py": {
        "test_streams_begin_and_end_in_other_threads_while_this_one_forks": "stress",
    },
    "background/test_system_limits.py": {
        "test_a_current_folder_that_is_gone_is_told": "rare",
        "test_a_loopback_interface_that_is_down_is_told": "rare",
        "test_a_program_without_standard_error": "rare",
        "test_a_source_in_a_zip_file_is_told": "rare",
        "test_a_worker_of_joblib_may_start_processes": "long",
        "test_few_tasks_are_told_before_a_process_is_started": "rare",
    },
    "test_checking_pages.py": {
        "test_the_files_of_an_example_have_rows_that_are_never_read": "pages have such sources",
    },
    "test_checking_reading.py": {
        "test_a_slow_source_gets_the_time_that_others_leave": "it waits",
    },
    "test_docs.py": {
        "test_examples_run": "the README has it",
        "test_a_page_that_runs_alone_can_fail": "it tests the tests",
    },
    "test_examples.py": {
        "test_a_slow_source_costs_no_time_in_a_process_of_its_own": "a figure of a page",
        "test_a_mux_mixes_as_the_formulas_say": "a figure of a page",
        "test_shares_are_what_was_asked_for_under_one_rule_only": "a figure of a page",
        "test_a_mux_over_classes_helps_the_rare_ones": "it trains many models",
        "test_many_files_give_the_same_batches_with_any_workers": "test_parallel.py has it",
        "test_a_run_that_was_killed_ends_with_the_same_weights": "test_resume.py has it",
        "test_gaps_between_items_of_a_source_are_nearly_as_the_formula_says": "a figure of a page",
        "test_light_sources_stay_for_as_long_as_the_formula_says": "a figure of a page",
        "test_the_quickstart_learns_more_than_without_noise": "it trains many models",
    },
    "test_failures.py": {
        "test_an_endless_mixture_of_files_some_of_which_are_broken": "long",
    },
    "test_faults.py": {
        "test_a_slow_consumer_holds_the_source_back": "test_zmq_stream.py bounds that too",
        "test_an_interrupt_may_come_at_any_moment": "long",
        "test_an_interrupt_may_come_at_any_moment_of_a_slow_start": "long",
        "test_many_small_items_come_in_order": "test_zmq_stream.py has fewer of them",
        "test_signals_to_the_whole_program_are_the_consumers_also_in_a_slow_start": "long",
    },
    "test_parallel.py": {
        "test_whichever_worker_is_killed_at_any_item_costs_none": "another one kills by a clock",
        "test_random_trees_with_processes": "there are threads, and fixed trees with processes",
        "test_several_threads_a_process": "one test of seeds has several",
    },
    "test_resume.py": {
        "test_what_counts_is_what_has_been_received": "long",
        "test_a_state_fits_with_a_process_for_every_streamer": "long",
        "test_notes_do_not_disturb_sources_of_any_kind": "long",
    },
    "test_resume_failures.py": {
        "test_any_tree": "other trees are in test_resume.py",
        "test_weights_that_change": "test_shares.py has it, without failures",
    },
    "test_shares.py": {
        "test_shares_of_different_streamers": "long",
        "test_a_design_is_drawn_exactly_in_random_order": "mixing/test_design.py has some of it",
        "test_a_replacement_keeps_the_distribution_of_the_open_set": "long",
    },
    "test_statistics.py": {
        "test_draws_at_the_edges_of_blocks_are_independent": "long",
        "test_replacement_above_does_not_change_the_shares_below": "long",
        "test_shares_of_nested_muxes_that_are_closed_and_opened_again": "long",
        "test_a_wrong_mux_is_refused": "it tests the tests",
        "test_one_activation_is_independent_of_the_next": "long",
    },
    "test_stress.py": {
        "test_random_actions_on_random_trees": "long",
        "test_fifty_streams_at_once": "test_zmq_stream.py starts ten",
        "test_starts_by_the_other_methods_leave_nothing": "another has one method",
        "test_what_an_error_holds_goes_with_it": "long",
    },
    "test_suite.py": {
        "test_a_search_lasts_as_long_as_it_may": "it waits",
        "test_a_search_tells_how_to_repeat_what_it_finds": "it starts pytest",
        "test_what_a_program_beside_makes_is_no_leak": "long",
    },
    "test_zmq_stream.py": {
        "test_the_other_ways_to_start_it": "long",
        "test_sizes_mixed_at_random_from_a_source_that_reuses_its_array": "long",
        "test_sources_that_draw_follow_the_seed_of_a_mux": "long",
    },
    "test_usage.py": {
        "test_a_mux_of_background_processes_of_muxes": "test_zmq_stream.py has one inside another",
    },
    "test_wheel.py": {
        "test_the_wheel_and_the_sdist_hold_every_file_of_the_package": "long",
        "test_the_wheel_works_away_from_the_checkout": "long",
    },
}
ONLY_FULL = {
    f"tests/{file}::{test}": why
    for file, tests in _ONLY_FULL.items()
    for test, why in tests.items()
}


def mark_repetition(items):
    """Mark ``full`` what adds no value of a parameter to the cases before it, or is one too many.

    The cases are taken in an order that mixes the values, and is the same in every process.
    """
    seen, n_chosen = {}, {}
    for item in sorted(items, key=lambda item: crc32(item.nodeid.encode())):
        if any(item.iter_markers("full")) or any(item.iter_markers("nightly")):
            continue
        test = item.nodeid.partition("[")[0]
        most = MOST_OF_LONG if LONG & {test, test.partition("::")[0]} else MOST
        values = _values(item)
        is_new = test not in seen or not values <= seen[test]
        if is_new and n_chosen.get(test, 0) < most and test not in ONLY_FULL:
            seen[test] = seen.get(test, set()) | values
            n_chosen[test] = n_chosen.get(test, 0) + 1
        else:
            item.add_marker("full")


def _values(item):
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    return {(name, id(value)) for name, value in parameters.items()}
