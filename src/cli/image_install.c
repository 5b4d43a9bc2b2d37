/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What an image is to have, put into it. The engine answers for a copy that has no owners and no
 * file capabilities: what is mended of those on the way back is added to its answers here.
 */

#include "cli/image_install.h"

#include <errno.h>

static int correct(struct result *result, const struct image_work *work)
{
	if (!result->is_unchanged || !strv_has(&work->mended, result->id))
		return 0;
	return result_set(result, RESULT_DONE, "", "'%s' %s is repaired", result->id,
			  result->version);
}

int image_install(struct image_work *work, struct image_own *own, struct image_bundles *bundles)
{
	int code = image_own_install(own, work);
	int r = 0;

	if (code == COMMAND_DONE)
		code = image_bundles_install(bundles, work);
	if (code == COMMAND_DONE)
		code = image_end(work, &bundles->ids);
	if (code != COMMAND_DONE)
		return code;
	for (size_t i = 0; r == 0 && i < own->count; i++)
		r = correct(&own->results[i], work);
	for (size_t i = 0; r == 0 && i < bundles->count; i++)
		r = correct(&bundles->items[i].result, work);
	return r < 0 ? command_broke(r, "what became of the image could not be said")
		     : COMMAND_DONE;
}
