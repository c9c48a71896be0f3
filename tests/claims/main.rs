//! What OpenClaw promises, shown with the real programs. One module for each promise; each test says in its first line
//! what is promised, and which line of `incidents.md` it covers, if any.

#![expect(clippy::disallowed_methods, reason = "tests are the far ends and their senders")]

mod webhook_refuses_requests_without_its_secret;
mod webhook_decides_before_it_reads;
mod webhook_slows_guessing_down;
mod webhook_refuses_other_senders;
mod webhook_on_a_socket_knows_its_peer;
mod webhook_takes_each_update_once;
mod webhook_accepts_only_what_is_stored;
mod webhook_is_registered_by_the_operator;
mod configuration_mistakes_stop_the_start;
mod only_known_sockets_listen;
mod status_page_is_for_whoever_is_logged_in;
mod status_page_obeys_no_other_page;

mod only_listed_people_are_answered;
mod groups_are_answered_only_when_listed_and_addressed;
mod commands_are_for_those_who_may;

mod messages_go_there_and_back;
mod answers_are_streamed;
mod links_carry_nothing_away;
mod files_come_and_go;
mod tools_run_in_the_jail;
mod effects_wait_for_the_owner;
mod skills_obey_the_operator;
mod stop_acts_at_once;
mod bad_model_answers_are_explained;
mod spending_stops_at_its_limits;
mod telegram_trouble_is_survived;

mod processes_are_confined;
mod users_are_kept_apart;
mod only_egress_speaks_to_others;
mod secrets_stay_where_they_belong;
mod keys_stay_out_of_memories;
mod security_audit_finds_what_is_wrong;
mod keys_are_exchanged_while_messages_come;
mod logs_are_bounded_and_hold_no_content;
mod killed_processes_lose_nothing;
mod long_conversations_cost_the_same;
mod the_first_run_works_offline;

mod skills_reach_only_what_their_manifests_name;
mod only_approved_skills_have_a_way_out;
mod skills_never_see_a_key;
mod denials_explain_themselves;
mod no_spelling_of_an_address_or_path_gets_through;
mod lists_of_payloads_get_nowhere;
mod mcp_servers_are_skills;
mod bundled_skills_do_their_work;
mod media_is_decoded_only_in_jails;
