/* SPDX-License-Identifier: Apache-2.0 */

/* `affix image`: disk images and what is in them. Each verb is a command in a file of its own. */

#include "cli/image.h"

#include "cli/commands.h"

static const struct command *const verbs[] = {
	&command_image_build,
	&command_image_cache,
	&command_image_pull,
	NULL,
};

static int run_image(int argc, char **argv)
{
	if (argc < 2)
		return command_usage(&command_image, "a verb is wanted, such as 'inject'");
	return command_usage(&command_image, "'%s' is nothing that can be done with images",
			     argv[1]);
}

const struct command command_image = {
	.name = "image",
	.run = run_image,
	.synopsis = "VERB [OPTION…] [OPERAND…]",
	.summary = "look into disk images, and put add-ons into them without root",
	.verbs = verbs,
};
