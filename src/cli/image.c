/* SPDX-License-Identifier: Apache-2.0 */

/*
 * `affix image`: disk images and what is in them. Each verb is a command in a file of its own; here
 * is what those share that have the engine work on an image.
 */

#include "cli/image.h"

#include <errno.h>

#include "cli/commands.h"
#include "image/replay.h"

static const struct command *const verbs[] = {
	&command_image_build,
	&command_image_inject,
	&command_image_rm_add_on,
	&command_image_reset,
	&command_image_status,
	&command_image_drift,
	&command_image_ls,
	&command_image_cat,
	&command_image_pull,
	&command_image_cache,
	NULL,
};

int image_complain(const struct problem *problem, const struct edit *edit, int r)
{
	if (r != PROBLEM_E_REFUSED)
		return command_error("the image cannot be worked on: %s; nothing was changed",
				     edit_describe(edit, r));
	command_complain(problem->name, problem->text);
	return str_equal(problem->name, "busy") ? COMMAND_TRY_AGAIN : COMMAND_REFUSED;
}

/* After the edit was opened, which ended with *r*. */
static int begin(struct image_work *work, int r, bool writable, const struct strv *ids,
		 struct problem *problem)
{
	if (r == 0 && writable)
		r = content_new(&work->edit, &work->content);
	if (r == 0)
		r = excerpt_make(&work->edit, ids, &work->excerpt, problem);
	return r == 0 ? COMMAND_DONE : image_complain(problem, &work->edit, r);
}

int image_begin(struct image_work *work, const char *image, bool writable, const struct strv *ids)
{
	struct problem problem = PROBLEM_INIT;
	int r = edit_open(image, writable, &work->edit, &problem);

	return begin(work, r, writable, ids, &problem);
}

int image_begin_new(struct image_work *work, int fd, const char *image, const struct strv *ids)
{
	struct problem problem = PROBLEM_INIT;
	int r = edit_open_new(fd, image, &work->edit, &problem);

	return begin(work, r, true, ids, &problem);
}

void image_work_done(struct image_work *work)
{
	(void)content_free(work->content);
	excerpt_done(&work->excerpt);
	edit_done(&work->edit);
	strv_done(&work->mended);
}

/* The engine knows of no image: what its errno means is said here. */
static int explain_full(const struct image_work *work, struct result *ret)
{
	struct problem problem = PROBLEM_INIT;

	return replay_refuse_full(&work->edit, &problem) == PROBLEM_E_REFUSED
		       ? result_set(ret, RESULT_REFUSED, problem.name, "%s", problem.text)
		       : 0;
}

int image_ask(struct image_work *work, struct host_call *call, struct result *ret)
{
	int code;
	int r = 0;

	call->root = work->excerpt.path;
	call->is_copy = true;
	if (!work->content)
		return host_ask(call, ret);
	work->sink = content_sink(work->content);
	call->sink = &work->sink;
	code = host_ask(call, ret);
	if (code == COMMAND_DONE)
		r = content_keep(work->content);
	else if (content_lacks_room(work->content))
		r = explain_full(work, ret);
	return r < 0 ? command_broke(r, "the bundle's content could not be kept") : code;
}

int image_commit(struct edit *edit)
{
	struct problem problem = PROBLEM_INIT;
	bool committed = false;
	int r = edit_commit(edit, &committed);

	if (r < 0 && committed) {
		ignore_result(command_error(
			"the change of '%s' could not be brought to its end: %s; any later "
			"'affix image' command on it finishes it, or gives it up",
			edit->path, edit_describe(edit, r)));
		return COMMAND_TRY_AGAIN;
	}
	return r == 0 ? COMMAND_DONE : image_complain(&problem, edit, r);
}

int image_end(struct image_work *work, const struct strv *ids)
{
	struct problem problem = PROBLEM_INIT;
	int r = replay(&work->excerpt, work->content, ids, &work->mended, &problem);

	return r == 0 ? image_commit(&work->edit) : image_complain(&problem, &work->edit, r);
}

static int run_image(int argc, char **argv)
{
	if (command_option(&command_image, argc, argv, ":", NULL) != -1)
		return COMMAND_USAGE;
	if (optind == argc)
		return command_usage(&command_image, "a verb is wanted, such as 'inject'");
	return command_usage(&command_image, "'%s' is nothing that can be done with images",
			     argv[optind]);
}

const struct command command_image = {
	.name = "image",
	.run = run_image,
	.synopsis = "VERB [OPTION…] [OPERAND…]",
	.summary = "look into disk images, and put add-ons into them without root",
	.verbs = verbs,
};
