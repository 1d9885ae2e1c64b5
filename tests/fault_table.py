"""The table of faults: each is injected, as it happens in earnest, by the tests that stand beside it.

``make test-faults`` runs these alone; a name without ``::`` stands for all tests of the file.
"""

from collections.abc import Mapping
from types import MappingProxyType

FAULTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "a Ray worker is killed in mid-round": (
            "test_sim_run::test_a_worker_killed_in_mid_round_costs_nothing_but_time",
        ),
        "the driver is killed, then resumed": (
            "test_sim_resume::test_killed_from_outside_in_mid_round_it_ends_as_if_it_had_not_been",
            "test_sim_resume::test_a_checkpoint_that_was_being_written_counts_for_nothing",
            "test_sim_resume::test_a_driver_killed_on_ray_is_resumed_to_the_same_bits",
        ),
        "the run is interrupted": (
            "test_sim_run::test_interrupted_it_ends_in_time_keeps_its_record_and_leaves_no_process",
        ),
        "a client is late, hangs or drops out": (
            "test_server_closing",
            "test_faults::test_a_client_that_hangs_costs_its_own_reply_and_the_next_round_is_whole",
        ),
        "every client fails": (
            "test_server_strategy::test_a_round_without_a_valid_reply_ends_the_run",
            "test_faults::test_a_round_in_which_every_client_fails_ends_the_run_or_leaves_the_student",
        ),
        "Ray does not start": ("test_faults::test_a_ray_that_does_not_start_is_one_line",),
        "a checkpoint is damaged": (
            "test_server_checkpoint::test_a_damaged_one_is_named_and_the_one_before_is_used",
            "test_sim_resume::test_a_damaged_newest_checkpoint_costs_one_round",
        ),
        "a pickle in a checkpoint": ("test_faults::test_a_pickle_in_a_checkpoint_is_never_opened",),
        "the disk is full": (
            "test_faults::test_on_a_full_disk_the_old_checkpoint_stays_and_room_is_all_it_needs",
            "test_faults::test_a_full_cache_is_named",
            "test_server_checkpoint::test_one_that_cannot_be_written_leaves_the_others_and_names_the_remedy",
            "test_fl_data_shards::test_full_disk_is_named_before_decoding",
            "test_fl_data_shards::test_disk_that_fills_up_while_building_is_named",
        ),
        "a read-only cache": (
            "test_faults::test_a_read_only_file_system_is_refused_before_any_work",
            "test_fl_data_shards::test_read_only_cache_with_the_store_in_it_is_enough",
        ),
        "two runs, one cache": ("test_fl_data_shards::test_two_builders_at_once_build_once",),
        "a builder of stores is killed": (
            "test_fl_data_shards::test_killed_build_goes_on_where_it_was",
            "test_fl_data_shards::test_readers_end_when_their_parent_is_killed",
            "test_fl_data_readers::test_reader_that_is_killed_costs_nothing_the_first_time",
            "test_fl_data_readers::test_reader_that_hangs_costs_one_clip",
        ),
        "two processes drive one run": ("test_sim_resume::test_two_processes_never_drive_one_run",),
        "a truncated, corrupt, empty or huge video": (
            "test_fl_data_media::test_limits_are_checked_before_decoding",
            "test_fl_data_media::test_huge_pictures_are_refused_fast_and_in_little_memory",
            "test_fl_data_windows::test_a_truncated_file_is_refused_as_a_whole",
            "test_fl_data_inspection::test_damage_behind_the_header_is_found_by_looking",
        ),
        "no face in any frame, no sound": (
            "test_fl_data_windows::test_windows_without_a_face_say_so_and_the_others_stay",
            "test_fl_data_reading::test_clip_without_a_face_is_an_error_even_without_sound",
        ),
        "an empty or single-class shard": (
            "test_sim_run::test_a_shard_of_one_class_trains_like_any_other",
            "test_server_enrolment::test_a_node_that_does_not_fit_is_refused_by_name",
            "test_fl_metrics_detection::test_one_class_leaves_auc_and_eer_undefined",
        ),
        "a reply with NaN, a wrong shape, key, type or weight": (
            "test_server_gate",
            "test_server_strategy::test_a_nan_reply_is_refused_and_the_round_goes_on",
            "test_server_strategy::test_a_wrong_shape_and_a_crash_are_refused_with_their_stage",
            "test_fl_wire::test_a_missing_record_key_or_array_is_refused",
            "test_fl_wire::test_an_array_of_another_type_or_size_is_refused",
        ),
        "a path or link out of the root": (
            "test_fl_data_corpora_lavdf::test_files_outside_the_root_are_refused",
            "test_fl_data_corpora_dfdc::test_metadata_that_is_a_link_out_of_the_root_is_not_opened",
            "test_fl_data_corpora_faceforensics::test_a_video_that_is_a_link_out_of_the_root_is_refused",
        ),
        "a name that is not UTF-8": ("test_fl_data_media::test_name_that_is_not_utf8",),
        "a port in use, an expired certificate": (
            "test_sim_deploy_folder::test_a_port_in_use_is_named_in_time",
            "test_sim_deploy_certificates::test_a_certificate_that_is_not_good_now_is_refused",
        ),
        "a device drops out and comes back, or is a stranger": (
            "test_server_enrolment::test_a_round_is_trained_by_those_who_are_connected",
            "test_deployment_hosts",
        ),
    }
)


def is_fault(file_name: str, test_name: str) -> bool:
    """Whether a test stands in the table."""
    module = file_name.removesuffix(".py")
    return any({module, f"{module}::{test_name}"} & set(tests) for tests in FAULTS.values())
